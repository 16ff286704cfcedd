import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { eventually } from '../helpers/eventually.js'
import { LogLines } from '../helpers/log-lines.js'
import { publishPacket, RawClient } from './raw-client.js'
import { startFront } from './start-front.js'

const PART_BYTES = 9000
const CLIENTS = 10

test('packets that are never finished cost no more memory than the maximum: beyond it who holds most is cut off, and nobody else', async () => {
  const log = new LogLines()
  const limits = { maxHeldBytes: CLIENTS * PART_BYTES }
  const { port, front, stop } = await startFront({ limits, logger: log.logger })
  const packet = publishPacket('t', 'x'.repeat(20_000), { qos: 1, id: 1 })
  const clients: RawClient[] = []
  for (let i = 0; i < CLIENTS; i++) clients.push(await RawClient.connected(port, `half ${i}`))
  const small = await RawClient.connected(port, 'small')
  const before = front.stats().receivedBytes
  for (const client of clients) client.write(packet.subarray(0, PART_BYTES))
  await eventually('all of it is read', () => front.stats().receivedBytes === before + CLIENTS * PART_BYTES, 30_000)
  assert.is(front.stats().connections, CLIENTS + 1)

  // One byte too many: of a packet that is all but whole.
  const good = publishPacket('t', 'small', { qos: 1, id: 7 })
  small.write(good.subarray(0, 1))
  await Promise.race(clients.map((client) => client.whenClosed()))
  small.write(good.subarray(1))
  assert.is((await small.next())?.first, 0x40)
  assert.is(front.stats().connections, CLIENTS)
  const [line] = log.having('client cut off')
  assert.match(line, /mqtt\.max_unfinished_bytes/)

  // The others finish, and what they held is given back.
  const left = clients.filter(({ closed }) => !closed)
  for (const client of left) {
    client.write(packet.subarray(PART_BYTES))
    assert.is((await client.next())?.first, 0x40)
  }
  for (const client of left) client.write(packet.subarray(0, PART_BYTES))
  for (const client of left) client.write(packet.subarray(PART_BYTES))
  for (const client of left) assert.is((await client.next())?.first, 0x40)
  assert.is(log.having('client cut off').length, 1)
  await stop()
})

test.run()
