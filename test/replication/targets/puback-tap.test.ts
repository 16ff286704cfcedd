import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { PubackTap } from '../../../src/replication/targets/puback-tap.js'
import { type SeededRandom, withSeed } from '../../helpers/seeded-random.js'

const LOWEST_OURS = 17

interface Read {
  readonly acked: number[]
  readonly passed: Buffer
  /** Chunks for which it said that the connection is alive. */
  readonly alive: number
}

function read(chunks: readonly Buffer[]): Read {
  const acked: number[] = []
  let alive = 0
  const tap = new PubackTap({
    lowestPacketId: LOWEST_OURS,
    onPuback: (packetId) => acked.push(packetId),
    onAlive: () => {
      alive += 1
    },
  })
  const passed: Buffer[] = []
  tap.on('data', (bytes: Buffer) => passed.push(bytes))
  for (const chunk of chunks) tap._transform(chunk, 'binary', () => {})
  for (let bytes = tap.read(); bytes !== null; bytes = tap.read()) passed.push(bytes)
  return { acked, passed: Buffer.concat(passed), alive }
}

function puback(packetId: number): Buffer {
  return Buffer.from([0x40, 2, packetId >> 8, packetId & 0xff])
}

function packet(type: number, body: Buffer): Buffer {
  const length: number[] = []
  let left = body.length
  do {
    length.push(left >= 128 ? (left % 128) | 0x80 : left)
    left = Math.floor(left / 128)
  } while (left > 0)
  return Buffer.concat([Buffer.from([type, ...length]), body])
}

/** A packet that is not ours to take, often one whose body looks like PUBACKs. */
function other(random: SeededRandom): Buffer {
  const size = [0, 2, 3, 127, 128, 300, 20_000][random.below(7)]
  const body = Buffer.alloc(size, random.chance(0.5) ? puback(40_000) : 0)
  return packet([0x20, 0x30, 0x32, 0x90, 0xd0][random.below(5)], body)
}

function cutAtRandom(bytes: Buffer, random: SeededRandom): Buffer[] {
  const chunks: Buffer[] = []
  for (let at = 0; at < bytes.length; ) {
    const size = random.chance(0.3) ? 1 + random.below(5) : 1 + random.below(5000)
    chunks.push(bytes.subarray(at, at + size))
    at += size
  }
  return chunks
}

test('however the bytes are cut, our PUBACKs are told in order and all else is passed on as it came', () =>
  withSeed((random) => {
    for (let run = 0; run < 200; run++) {
      const sent: Buffer[] = []
      const ours: number[] = []
      const others: Buffer[] = []
      for (let i = random.below(60); i >= 0; i--) {
        const kind = random.below(10)
        const bytes =
          kind < 6
            ? puback(LOWEST_OURS + random.below(65_000))
            : kind < 7
              ? puback(1 + random.below(16))
              : other(random)
        sent.push(bytes)
        if (kind < 6) ours.push(bytes.readUInt16BE(2))
        else others.push(bytes)
      }
      const { acked, passed } = read(cutAtRandom(Buffer.concat(sent), random))
      assert.equal(acked, ours)
      assert.ok(passed.equals(Buffer.concat(others)), 'what is passed on')
    }
  }))

test('the lowest packet identifier that is ours is taken, the one below is not', () => {
  const { acked, passed, alive } = read([Buffer.concat([puback(LOWEST_OURS - 1), puback(LOWEST_OURS)])])
  assert.equal(acked, [LOWEST_OURS])
  assert.equal([...passed], [...puback(LOWEST_OURS - 1)])
  assert.is(alive, 1)
})

test('a chunk without an acknowledgement of ours says nothing of being alive', () => {
  assert.is(read([packet(0xd0, Buffer.alloc(0)), puback(3)]).alive, 0)
})

test('from a malformed packet on everything is left to mqtt.js', () => {
  const malformed = Buffer.from([0x30, 0xff, 0xff, 0xff, 0xff, 1])
  const { acked, passed } = read([puback(100), malformed, puback(200), Buffer.alloc(100, puback(300))])
  assert.equal(acked, [100])
  assert.ok(passed.equals(Buffer.concat([malformed, puback(200), Buffer.alloc(100, puback(300))])))
})

test.run()
