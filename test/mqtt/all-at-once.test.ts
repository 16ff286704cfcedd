// A power cut is over, and all devices come back at once: nobody is refused for it, and nobody waits for the kernel to try again.

import { readFileSync } from 'node:fs'
import { test as uvuTest } from 'uvu'
import * as assert from 'uvu/assert'
import { NodeProcess } from '../helpers/node-process.js'
import { unlessSkipped } from '../helpers/skip.js'
import { connectPacket, RawClient } from './raw-client.js'

const DEVICES = 2100
const heldByKernel = Number(readFileSync('/proc/sys/net/core/somaxconn', 'utf8'))
const test = unlessSkipped(uvuTest, heldByKernel < DEVICES ? 'net.core.somaxconn is too small' : null)

test(`${DEVICES} devices that connect while the node is busy are all let in`, async () => {
  const node = await NodeProcess.start({ config: `[mqtt]\nmax_connections = ${DEVICES}\n` })
  process.kill(node.pid, 'SIGSTOP')
  // Resolves only if the kernel holds them all.
  const clients = await Promise.all(Array.from({ length: DEVICES }, () => RawClient.open(node.mqttPort)))
  process.kill(node.pid, 'SIGCONT')
  for (const [i, client] of clients.entries()) client.write(connectPacket({ clientId: `device-${i}` }))
  for (const client of clients) assert.equal([...((await client.next())?.body ?? [])], [0, 0])
  for (const client of clients) client.reset()
  await node.kill()
})

uvuTest.run()
