import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { isMacOf, MAC_BYTES, macOf, sessionKeyOf } from '../../firmware-bridge/devices/mac.js'
import { authVectors } from './vectors.js'

test('a MAC is the beginning of HMAC-SHA-256, however the data is cut into parts', () => {
  for (const { name, key, data, hmac } of authVectors) {
    const [keyBytes, bytes] = [Buffer.from(key, 'hex'), Buffer.from(data, 'hex')]
    for (const cut of [0, bytes.length >> 1, bytes.length]) {
      const parts = [bytes.subarray(0, cut), bytes.subarray(cut)]
      assert.is(macOf(keyBytes, ...parts).toString('hex'), hmac.slice(0, 2 * MAC_BYTES), name)
      assert.is(sessionKeyOf(keyBytes, ...parts).toString('hex'), hmac, name)
    }
  }
})

test('a MAC that differs anywhere, or is cut short, is none', () => {
  const [key, data] = [Buffer.alloc(16, 1), Buffer.from('data')]
  const mac = macOf(key, data)
  assert.is(isMacOf(mac, key, data), true)
  for (let bit = 0; bit < MAC_BYTES * 8; bit++) {
    const other = Buffer.from(mac)
    other[bit >> 3] ^= 1 << (bit & 7)
    assert.is(isMacOf(other, key, data), false)
  }
  for (const length of [0, MAC_BYTES - 1]) assert.is(isMacOf(mac.subarray(0, length), key, data), false)
  assert.is(isMacOf(Buffer.concat([mac, mac]), key, data), false)
})

test.run()
