import { readFileSync } from 'node:fs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { decodeMessage, encodeMessage } from '../../firmware-bridge/mqttsn/codec.js'
import { unwrapForwarded, wrapForwarded } from '../../firmware-bridge/mqttsn/forwarder.js'
import { withSeed } from '../helpers/seeded-random.js'
import { MQTTSN_VECTORS_PATH, type MqttSnVectors, snMessageOfVector } from './mqttsn-vectors.js'

const vectors = JSON.parse(readFileSync(MQTTSN_VECTORS_PATH, 'utf8')) as MqttSnVectors

test('each vector is read as it says, and written as it stands', () => {
  for (const { name, message, wire, form } of vectors.good) {
    const expected = snMessageOfVector(message)
    assert.equal(decodeMessage(Buffer.from(wire, 'hex')), expected, name)
    if (form === undefined) assert.is(encodeMessage(expected).toString('hex'), wire, name)
  }
})

test('each bad vector is refused', () => {
  for (const { name, wire } of vectors.bad) assert.is(decodeMessage(Buffer.from(wire, 'hex')), null, name)
})

test('there is a vector of every message', () => {
  assert.is(new Set(vectors.good.map(({ message }) => message['type'])).size, 27)
})

test('whatever can be read from random bytes says the same when it is written and read again', () =>
  withSeed((random) => {
    let read = 0
    for (let round = 0; round < 50_000; round++) {
      const bytes = Buffer.from(Array.from({ length: 1 + random.below(20) }, () => random.below(256)))
      if (random.chance(0.9)) bytes[0] = bytes.length
      if (bytes.length > 1 && random.chance(0.9)) bytes[1] = random.below(0x1e)
      const message = decodeMessage(bytes)
      if (message === null) continue
      read += 1
      assert.equal(decodeMessage(encodeMessage(message)), message)
    }
    assert.ok(read > 1000, `only ${read} were read`)
  }))

test('what a forwarder has wrapped is unwrapped, and what it cannot have wrapped refused', () => {
  const message = Buffer.from('0217', 'hex')
  const wrapped = wrapForwarded(Buffer.of(7, 8), message)
  assert.is(wrapped.toString('hex'), '05fe0007080217')
  assert.equal(unwrapForwarded(wrapped), { nodeId: Buffer.of(7, 8), message })
  assert.is(unwrapForwarded(message), null)
  for (const hex of [
    '03fe00',
    '03fe000217',
    '04fe0007',
    '05fe0007',
    '04fe000704fe000702',
    `27fe00${'aa'.repeat(36)}0217`,
  ])
    assert.is(unwrapForwarded(Buffer.from(hex, 'hex')), 'malformed', hex)
})

test.run()
