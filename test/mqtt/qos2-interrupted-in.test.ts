// QoS 2 from a client, broken off at each step of its handshake by SIGKILL of the node or by the client's own takeover. The client does what MQTT
// 3.1.1 section 4.3.3 asks of it: it sends again what was not answered.

import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { NodeProcess } from '../helpers/node-process.js'
import { readAll } from '../helpers/open-log.js'
import { readStream } from '../helpers/stream-reader.js'
import { tempDir } from '../helpers/temp-dir.js'
import { connect, expect, HELD_MS, PUBCOMP, PUBREC, startNode, takenAndUnanswered } from './qos2-interrupted.js'
import { publishPacket, pubrel, type RawClient } from './raw-client.js'
import { startFront, type TestFront } from './start-front.js'

const ID = 5

/** The rest of the handshake, from PUBLISH or from PUBREL on, and a whole one with the same identifier. */
async function complete(client: RawClient, from: 'PUBLISH' | 'PUBREL', topic: string): Promise<void> {
  if (from === 'PUBLISH') {
    client.write(publishPacket(topic, 'once', { qos: 2, id: ID, dup: true }))
    await expect(client, PUBREC)
  }
  client.write(pubrel(ID))
  await expect(client, PUBCOMP)
  client.write(publishPacket(topic, 'next', { qos: 2, id: ID }))
  await expect(client, PUBREC)
  client.write(pubrel(ID))
  await expect(client, PUBCOMP)
}

interface Step {
  readonly name: string
  /** The node that takes the last packet of the step ends no commit. */
  readonly held: boolean
  readonly resendFrom: 'PUBLISH' | 'PUBREL'
  /** Brings the handshake to where a node that ends no commit takes over. */
  readonly before?: (client: RawClient, topic: string) => Promise<void>
  /** Brings the handshake there. */
  readonly reach: (client: RawClient, topic: string) => Promise<void>
}

const publish = (client: RawClient, topic: string): void =>
  client.write(publishPacket(topic, 'once', { qos: 2, id: ID }))
const upToPubrec = async (client: RawClient, topic: string): Promise<void> => {
  publish(client, topic)
  await expect(client, PUBREC)
}

const INBOUND: readonly Step[] = [
  {
    name: 'PUBLISH has been taken and its commit has not ended',
    held: true,
    resendFrom: 'PUBLISH',
    async reach(client, topic) {
      publish(client, topic)
      await takenAndUnanswered(client)
    },
  },
  { name: 'PUBREC has been sent', held: false, resendFrom: 'PUBREL', reach: upToPubrec },
  { name: 'PUBREC has been sent and the client has missed it', held: false, resendFrom: 'PUBLISH', reach: upToPubrec },
  {
    name: 'PUBREL has been taken and the end of the handshake is not durable',
    held: true,
    resendFrom: 'PUBREL',
    before: upToPubrec,
    async reach(client) {
      client.write(pubrel(ID))
      await takenAndUnanswered(client)
    },
  },
  {
    name: 'PUBCOMP has been sent and the client has missed it',
    held: false,
    resendFrom: 'PUBREL',
    async reach(client, topic) {
      await upToPubrec(client, topic)
      client.write(pubrel(ID))
      await expect(client, PUBCOMP)
    },
  },
]

/** A client of its own for each step; its topic is named like it. */
const clientOf = (step: Step): string => `client-${INBOUND.indexOf(step)}`

test('in: killed at every step of the handshake, the message is stored once and its identifier is free at the end', async () => {
  const dataDir = tempDir()
  const inAll = async (node: NodeProcess, work: (step: Step, client: RawClient, topic: string) => unknown) => {
    for (const step of INBOUND) {
      const topic = clientOf(step)
      await work(step, await connect(node.mqttPort, topic), topic)
    }
  }
  let node = await startNode(dataDir)
  await inAll(node, ({ held, before, reach }, client, topic) => (held ? before : reach)?.(client, topic))
  await node.kill('SIGKILL')
  node = await startNode(dataDir, true)
  await inAll(node, ({ held, reach }, client, topic) => (held ? reach(client, topic) : undefined))
  await node.kill('SIGKILL')
  node = await startNode(dataDir)
  await inAll(node, ({ resendFrom }, client, topic) => complete(client, resendFrom, topic))
  const stored = await readStream(node, 'mqtt')
  for (const step of INBOUND) {
    const values = stored.filter(({ mqttTopic }) => mqttTopic === clientOf(step)).map(({ payload }) => payload)
    assert.equal(values, ['once', 'next'], step.name)
  }
  await node.kill()
})

for (const step of INBOUND) {
  const { name, held, resendFrom, before, reach } = step
  test(`in: taken over when ${name}, the message is stored once and its identifier is free at the end`, async () => {
    const directory = tempDir()
    const topic = clientOf(step)
    const startHere = (holdCommits: boolean): Promise<TestFront> =>
      startFront({ directory, streams: [{ name: 'mqtt', topics: ['#'], lingerMs: holdCommits ? HELD_MS : 0 }] })
    let server = await startHere(held && before === undefined)
    if (before !== undefined) {
      await before(await connect(server.port, topic), topic)
      await server.stop()
      server = await startHere(held)
    }
    const older = await connect(server.port, topic)
    await reach(older, topic)
    const newer = await connect(server.port, topic)
    await older.whenClosed()
    if (held) {
      // What is sent again waits for the same commit.
      newer.write(resendFrom === 'PUBLISH' ? publishPacket(topic, 'once', { qos: 2, id: ID, dup: true }) : pubrel(ID))
      await takenAndUnanswered(newer)
      // Which ends with the node.
      await server.stop()
      server = await startHere(false)
      await complete(await connect(server.port, topic), resendFrom, topic)
    } else await complete(newer, resendFrom, topic)
    const records = await readAll(server.testLog.log, 'mqtt')
    assert.equal(
      records.map(({ value }) => value?.toString()),
      ['once', 'next'],
    )
    await server.stop()
  })
}

test.run()
