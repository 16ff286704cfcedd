// What the tests of a QoS 2 handshake that is broken off share. Steps that lie between two packets are reached by holding the node: with a long
// linger no commit ends, and a stopped node reads nothing.

import * as assert from 'uvu/assert'
import { NodeProcess } from '../helpers/node-process.js'
import { RawClient } from './raw-client.js'

export const PUBREC = 0x50
export const PUBREL = 0x62
export const PUBCOMP = 0x70
export const HELD_MS = 60_000

/** A node whose commits end at once, or not before the test has. */
export function startNode(dataDir: string, holdCommits = false): Promise<NodeProcess> {
  const linger = holdCommits ? `linger_ms = ${HELD_MS}\n` : ''
  return NodeProcess.start({ dataDir, config: `[[stream]]\nname = "mqtt"\ntopics = ["#"]\n${linger}` })
}

/** What was sent so far has been taken, and nothing of it answered. */
export async function takenAndUnanswered(client: RawClient): Promise<void> {
  assert.equal(await client.untilPong(), [])
}

export async function expect(client: RawClient, first: number): Promise<void> {
  assert.is((await client.next())?.first, first)
}

export const connect = async (port: number, clientId: string): Promise<RawClient> =>
  (await RawClient.durable(port, clientId)).client
