import { readFileSync } from 'node:fs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type Item, readItems, writeItems } from '../../firmware-bridge/serial/cbor-items.js'
import { CobsReader, cobsEncode } from '../../firmware-bridge/serial/cobs.js'
import { openFrame, sealFrame } from '../../firmware-bridge/serial/frame.js'
import { deviceMessageOf } from '../../firmware-bridge/serial/messages.js'
import { type SeededRandom, withSeed } from '../helpers/seeded-random.js'
import { messageOfVector, VECTORS_PATH, type Vectors } from './vectors.js'

const vectors = JSON.parse(readFileSync(VECTORS_PATH, 'utf8')) as Vectors

function contentsOf(reader: CobsReader, wire: Uint8Array): Buffer[] {
  const contents: Buffer[] = []
  reader.push(wire, (content) => contents.push(Buffer.from(content)))
  return contents
}

function bytesOf(random: SeededRandom, length: number, bound: number): Buffer {
  return Buffer.from(Array.from({ length }, () => random.below(bound)))
}

test('each vector is written as it stands, and read back', () => {
  for (const vector of vectors.good) {
    const message = messageOfVector(vector.message)
    const wire = sealFrame(message, vector.epoch)
    assert.is(wire.toString('hex'), vector.wire, vector.name)
    const [content] = contentsOf(new CobsReader(1024), wire)
    const opened = openFrame(content, vector.epoch)
    assert.ok('items' in opened, vector.name)
    if (vector.from === 'device') assert.equal(deviceMessageOf(opened.items), message, vector.name)
  }
})

test('each bad vector is refused', () => {
  for (const { name, epoch, wire } of vectors.bad) {
    const taken = contentsOf(new CobsReader(1024), Buffer.from(wire, 'hex')).filter((content) => {
      const opened = openFrame(content, epoch)
      return 'items' in opened && deviceMessageOf(opened.items) !== null
    })
    assert.is(taken.length, 0, name)
  }
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
  const wire = sealFrame(message, 77)
  for (let bit = 0; bit < (wire.length - 1) * 8; bit++) {
    const damaged = Buffer.from(wire)
    damaged[bit >> 3] ^= 1 << (bit & 7)
    for (const content of contentsOf(new CobsReader(100), damaged))
      assert.ok('problem' in openFrame(content, 77), `bit ${bit}`)
  }
  assert.equal(openFrame(contentsOf(new CobsReader(100), wire)[0], 78), { problem: 'crc' })
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
