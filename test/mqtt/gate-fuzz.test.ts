// Malformed input costs only its sender: sessions of packets, mostly valid, some broken in a byte, a length or an order, on many connections,
// beside one well-behaved client whose messages must all be acknowledged. CI runs it for 30 s; a long run, the same one again:
// FUZZ_SECONDS=3600 SEED=12345 node dist/test/mqtt/gate-fuzz.test.js

import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { readAll } from '../helpers/open-log.js'
import {
  connectPacket,
  DISCONNECT,
  PINGREQ,
  packet,
  publishPacket,
  RawClient,
  subscribePacket,
  text,
  u16,
} from './raw-client.js'
import { randomFrom } from './seeded-random.js'
import { startFront } from './start-front.js'

const SECONDS = Number(process.env['FUZZ_SECONDS'] ?? 4)
const TEXTS = [
  'a',
  'a/b',
  '',
  '#',
  '+/x',
  '$SYS/a',
  'a\0',
  '\uffff',
  '/'.repeat(150),
  'constructor',
  '__proto__',
  '$share/g/a',
  'x'.repeat(300),
]

function randomPacket(random: () => number): Buffer {
  const integer = (below: number) => Math.floor(random() * below)
  const pick = <T>(list: readonly T[]): T => list[integer(list.length)]
  const id = () => pick([0, 1, 2, 3, 65_535])
  switch (integer(10)) {
    case 0:
      return connectPacket({
        clientId: pick(TEXTS),
        flags: integer(256),
        level: pick([3, 4, 4, 4, 5]),
        payload: pick([Buffer.alloc(0), text('w'), Buffer.concat([text('w'), text('x')])]),
      })
    case 1:
      return subscribePacket(id(), [pick(TEXTS), integer(4)], ['a/#', integer(3)])
    case 2:
      return packet(0xa2, u16(id()), text(pick(TEXTS)))
    case 3:
      return packet(pick([0x40, 0x50, 0x62, 0x70]), u16(id()))
    case 4:
      return pick([PINGREQ, DISCONNECT, Buffer.from([0xf0, 0]), Buffer.from([0x30, 0xff, 0xff, 0xff, 0xff])])
    default:
      return publishPacket(pick(['a', 'a/b', 'a', pick(TEXTS)]), 'p'.repeat(integer(400)), {
        qos: integer(3),
        id: id(),
        dup: random() < 0.1,
        retain: random() < 0.1,
      })
  }
}

function broken(bytes: Buffer, random: () => number): Buffer {
  const copy = Buffer.from(bytes)
  if (random() < 0.5 && copy.length > 0)
    copy[Math.floor(random() * Math.min(copy.length, 12))] = Math.floor(random() * 256)
  else return copy.subarray(0, Math.floor(random() * copy.length))
  return copy
}

test(`for ${SECONDS} s malformed sessions close themselves and disturb nobody`, async () => {
  const { random, seed } = randomFrom()
  console.log(`seed ${seed}`)
  const { port, front, testLog, stop } = await startFront()
  const failures: unknown[] = []
  const onFailure = (error: unknown) => failures.push(error)
  process.on('uncaughtException', onFailure)
  process.on('unhandledRejection', onFailure)
  const good = await RawClient.connected(port, 'good')
  let acknowledged = 0
  let connections = 0
  const until = performance.now() + SECONDS * 1000
  while (performance.now() < until && failures.length === 0) {
    const clients = await Promise.all(Array.from({ length: 10 }, () => RawClient.open(port)))
    for (const client of clients) {
      connections += 1
      if (random() < 0.9)
        client.write(connectPacket({ clientId: `f${Math.floor(random() * 5)}`, clean: random() < 0.5 }))
      const count = Math.floor(random() * 30)
      for (let i = 0; i < count; i++) {
        const bytes = randomPacket(random)
        client.write(random() < 0.05 ? broken(bytes, random) : bytes)
      }
    }
    good.write(publishPacket('good', String(acknowledged), { qos: 1, id: 7 }))
    const answer = await Promise.race([good.next(), new Promise<null>((resolve) => setTimeout(resolve, 5000, null))])
    assert.equal([answer?.first, answer?.body.readUInt16BE(0)], [0x40, 7], `seed ${seed}`)
    acknowledged += 1
    for (const client of clients) client.socket.destroy()
  }
  assert.equal(failures, [], `seed ${seed}`)
  assert.ok(connections > 50)
  while (front.stats().connections > 1) await new Promise((resolve) => setImmediate(resolve))
  await front.stop()
  const stored = (await readAll(testLog.log, 'mqtt')).filter(({ key }) => String(key) === 'good')
  assert.equal(
    stored.map(({ value }) => Number(value)),
    Array.from({ length: acknowledged }, (_, i) => i),
  )
  process.off('uncaughtException', onFailure)
  process.off('unhandledRejection', onFailure)
  await stop()
})

test.run()
