import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type Item, readItems, writeItems } from '../../firmware-bridge/serial/cbor-items.js'
import { CobsReader, cobsEncode } from '../../firmware-bridge/serial/cobs.js'
import {
  FrameCodec,
  isProven,
  NO_SESSION,
  type OpenedFrame,
  proveHello,
  proveWelcome,
  sessionKey,
} from '../../firmware-bridge/serial/frame.js'
import { deviceMessageOf } from '../../firmware-bridge/serial/messages.js'
import { type SeededRandom, withSeed } from '../helpers/seeded-random.js'
import { messageOfVector, type VectorOfFrame, vectors } from './vectors.js'

function contentsOf(reader: CobsReader, wire: Uint8Array): Buffer[] {
  const contents: Buffer[] = []
  reader.push(wire, (content) => contents.push(Buffer.from(content)))
  return contents
}

function bytesOf(random: SeededRandom, length: number, bound: number): Buffer {
  return Buffer.from(Array.from({ length }, () => random.below(bound)))
}

/** What the vector's side seals, numbered on from where the vector is. */
function codecAt({ from, epoch, key, counter = 1 }: VectorOfFrame): FrameCodec {
  const codec = new FrameCodec(from, { epoch, key: key === undefined ? null : Buffer.from(key, 'hex') })
  Object.assign(codec, { sent: counter - 1 })
  return codec
}

function opened({ from, epoch, key, wire }: VectorOfFrame): OpenedFrame[] {
  const other = from === 'device' ? 'bridge' : 'device'
  const codec = new FrameCodec(other, { epoch, key: key === undefined ? null : Buffer.from(key, 'hex') })
  return contentsOf(new CobsReader(1024), Buffer.from(wire, 'hex')).map((content) => codec.open(content))
}

test('each vector is written as it stands, and read back', () => {
  for (const vector of vectors.good) {
    const message = messageOfVector(vector.message)
    assert.is(codecAt(vector).seal(message).toString('hex'), vector.wire, vector.name)
    const [frame] = opened(vector)
    assert.ok('items' in frame, vector.name)
    assert.is(writeItems(frame.items).toString('hex'), vector.body, vector.name)
    if (vector.from === 'device') assert.equal(deviceMessageOf(frame.items), message, vector.name)
  }
})

test('each bad vector of a device is refused', () => {
  const bad = vectors.bad.filter(({ from }) => from === 'device')
  assert.ok(bad.length > 30)
  for (const vector of bad) {
    const taken = opened(vector).filter((frame) => 'items' in frame && deviceMessageOf(frame.items) !== null)
    assert.is(taken.length, 0, vector.name)
  }
})

test('a handshake proves both sides, and makes a key that only they have', () => {
  const { device, epoch, receiveWindow, maxFrameBytes, ...hex } = vectors.handshake
  const bytes = (name: keyof typeof hex) => Buffer.from(hex[name], 'hex')
  const outside = (side: 'device' | 'bridge') => new FrameCodec(side, NO_SESSION)
  const plain = { type: 'hello', version: 1, device, epoch: 0, sequence: 1, receiveWindow, maxFrameBytes } as const
  const hello = proveHello(plain, bytes('deviceNonce'), bytes('key'))
  assert.is(outside('device').seal(hello).toString('hex'), hex.hello)
  assert.is(isProven(hello, bytes('key')), true)
  assert.is(isProven({ ...hello, sequence: 2 }, bytes('key')), false)
  assert.is(isProven(hello, Buffer.alloc(16)), false)
  assert.is(isProven(plain, bytes('key')), false)
  const welcome = proveWelcome(
    { type: 'welcome', version: 1, epoch, window: 8, maxFrameBytes: 1024 },
    bytes('bridgeNonce'),
    bytes('deviceNonce'),
    bytes('key'),
  )
  assert.is(outside('bridge').seal(welcome).toString('hex'), hex.welcome)
  const key = sessionKey(bytes('key'), bytes('deviceNonce'), bytes('bridgeNonce'), epoch)
  assert.is(key.toString('hex'), hex.sessionKey)
  const publish = { type: 'publish', sequence: 1, mqttTopic: 't', payload: Buffer.from('21.5'), retain: false } as const
  assert.is(new FrameCodec('device', { epoch, key }).seal(publish).toString('hex'), hex.firstPublish)
})

test('a frame of an authenticated session counts once, and a lost one is not missed', () => {
  const key = Buffer.alloc(32, 5)
  const [device, bridge] = (['device', 'bridge'] as const).map((side) => new FrameCodec(side, { epoch: 1, key }))
  const wires = [1, 2, 3].map((number) => device.seal({ type: 'received', number }))
  const open = (wire: Buffer) => bridge.open(contentsOf(new CobsReader(100), wire)[0])
  assert.equal(open(wires[0]), { items: [7, 1] })
  assert.equal(open(wires[0]), { problem: 'replay' })
  assert.equal(open(wires[2]), { items: [7, 3] })
  assert.equal(open(wires[1]), { problem: 'replay' })
})

test('any content comes through stuffing, whatever chunks it arrives in', () =>
  withSeed((random) => {
    for (const length of [1, 2, 253, 254, 255, 256, 507, 508, 509, 510, 1000]) {
      for (const bound of [1, 2, 256]) {
        const content = bytesOf(random, length, bound)
        const full = Buffer.alloc(length, 7)
        for (const each of [content, full]) {
          const wire = cobsEncode(each)
          assert.is(wire.indexOf(0), wire.length - 1)
          const reader = new CobsReader(1000)
          const cut = random.below(wire.length)
          const got = [...contentsOf(reader, wire.subarray(0, cut)), ...contentsOf(reader, wire.subarray(cut))]
          assert.equal(got, [each])
        }
      }
    }
  }))

test('a content longer than allowed is counted and the next one taken', () => {
  const reader = new CobsReader(10)
  const wire = Buffer.concat([cobsEncode(Buffer.alloc(5000, 3)), cobsEncode(Buffer.from('short'))])
  assert.equal(contentsOf(reader, wire).map(String), ['short'])
  assert.is(reader.tooLong, 1)
})

test('a flipped bit anywhere in a frame, and another epoch, are noticed', () => {
  const message = {
    type: 'publish',
    sequence: 300,
    mqttTopic: 't',
    payload: Buffer.from('21.5'),
    retain: false,
  } as const
  for (const key of [null, Buffer.alloc(32, 9)]) {
    const wire = new FrameCodec('device', { epoch: 77, key }).seal(message)
    for (let bit = 0; bit < (wire.length - 1) * 8; bit++) {
      const damaged = Buffer.from(wire)
      damaged[bit >> 3] ^= 1 << (bit & 7)
      for (const content of contentsOf(new CobsReader(100), damaged))
        assert.ok('problem' in new FrameCodec('bridge', { epoch: 77, key }).open(content), `bit ${bit}`)
    }
  }
  const wire = new FrameCodec('device', { epoch: 77, key: null }).seal(message)
  const [content] = contentsOf(new CobsReader(100), wire)
  assert.equal(new FrameCodec('bridge', { epoch: 78, key: null }).open(content), { problem: 'damaged' })
})

test('items are read back as written, and only in their shortest form', () =>
  withSeed((random) => {
    const sizes = [0, 23, 24, 255, 256, 65_535, 65_536, 2 ** 32 - 1, 2 ** 32, Number.MAX_SAFE_INTEGER]
    const items: Item[][] = [...sizes.map((size) => [size]), ['', 'ä'.repeat(200), Buffer.alloc(300, 1)]]
    for (const each of items) assert.equal(readItems(writeItems(each)), each)
    for (const hex of [
      '1800',
      '190001',
      '1a00000001',
      '1b0000000000000001',
      '1bffffffffffffffff',
      '61ff',
      '5f',
      '80',
      'c001',
      'f6',
      '20',
    ])
      assert.is(readItems(Buffer.from(hex, 'hex')), null, hex)
    for (let round = 0; round < 20_000; round++) {
      const bytes = bytesOf(random, random.below(40), 256)
      const read = readItems(bytes)
      if (read !== null) assert.equal(writeItems(read), bytes)
    }
  }))

test.run()
