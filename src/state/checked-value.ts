// A stored value with a checksum of its own (D5): LevelDB here verifies none, and copies a changed byte into the next table with a sound one.
//
//   stored = value check:u32be         check: CRC-32C of the key it is stored under and the value
//
// The key is covered, so that a value that turns up under another one does not pass.

import { crc32c } from '../base/crc32c.js'

export const CHECK_BYTES = 4
const NO_KEY = Buffer.alloc(0)

/** @param key Nothing for what is stored under no key, as a file. */
export function withCheck(value: Uint8Array, key: Uint8Array = NO_KEY): Buffer {
  const stored = Buffer.allocUnsafe(value.length + CHECK_BYTES)
  stored.set(value)
  stored.writeUInt32BE(checkOf(value, key), value.length)
  return stored
}

/** @returns the value, a view; null if it is cut or damaged, or was stored under another key. */
export function withoutCheck(stored: Buffer, key: Uint8Array = NO_KEY): Buffer | null {
  if (stored.length < CHECK_BYTES) return null
  const value = stored.subarray(0, -CHECK_BYTES)
  return stored.readUInt32BE(value.length) === checkOf(value, key) ? value : null
}

function checkOf(value: Uint8Array, key: Uint8Array): number {
  return crc32c(value, 0, value.length, crc32c(key))
}
