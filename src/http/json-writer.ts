// JSON into bytes, without a string in between: text that is UTF-8 already is copied, and only what JSON escapes is looked up. Building the same
// from strings costs five times as much, most of it when they are flattened and encoded.

import { isUtf8 } from 'node:buffer'

/** A byte of text becomes at most so many: `\u001f`. */
export const MAX_ESCAPED = 6
/** Up to here a loop copies faster than a call. */
const SHORT_BYTES = 48
const ZERO = 0x30
const BACKSLASH = 0x5c
const QUOTE = 0x22
const HEX = Buffer.from('0123456789abcdef')
const NULL = Buffer.from('null')

/** By byte: 0 where it stands for itself, the letter behind the backslash, or 1 for `\u00XX`. */
const ESCAPES = new Uint8Array(256)
ESCAPES.fill(1, 0, 0x20)
for (const [byte, letter] of ['\bb', '\tt', '\nn', '\ff', '\rr', '""', '\\\\'].map((pair) => [...Buffer.from(pair)]))
  ESCAPES[byte] = letter

export class JsonWriter {
  private bytes: Buffer
  private length = 0

  /** @param expectedBytes It grows past that where it has to. */
  constructor(expectedBytes: number) {
    this.bytes = Buffer.allocUnsafeSlow(expectedBytes)
  }

  /** What has been written. The writer is not to be used again. */
  finish(): Buffer {
    return this.bytes.subarray(0, this.length)
  }

  byte(value: number): void {
    this.reserve(1)
    this.bytes[this.length++] = value
  }

  /** Bytes that are JSON already. */
  raw(source: Uint8Array): void {
    this.reserve(source.length)
    const { bytes } = this
    let at = this.length
    if (source.length > SHORT_BYTES) bytes.set(source, at)
    else for (let i = 0; i < source.length; i++) bytes[at + i] = source[i]
    at += source.length
    this.length = at
  }

  /** A whole number from 0 up. */
  integer(value: number): void {
    if (value > 0x7fffffff) return void this.raw(Buffer.from(String(value)))
    this.reserve(10)
    const { bytes } = this
    let digits = 1
    for (let rest = value; rest >= 10; rest = (rest / 10) | 0) digits += 1
    let rest = value
    for (let at = this.length + digits - 1; at >= this.length; at--) {
      const tens = (rest / 10) | 0
      bytes[at] = ZERO + rest - tens * 10
      rest = tens
    }
    this.length += digits
  }

  /** Three digits. */
  thousandth(value: number): void {
    this.reserve(3)
    const { bytes, length } = this
    bytes[length] = ZERO + ((value / 100) | 0)
    bytes[length + 1] = ZERO + (((value / 10) | 0) % 10)
    bytes[length + 2] = ZERO + (value % 10)
    this.length += 3
  }

  /** `text` as a string when it is UTF-8, else after `otherwise` in base64. Both are names of fields, with the colon. */
  field(name: Uint8Array, otherwise: Uint8Array, text: Uint8Array | null): void {
    const start = this.length
    this.raw(name)
    if (text === null) this.raw(NULL)
    if (text === null || this.string(text) || isUtf8(text)) return
    this.length = start
    this.raw(otherwise)
    const { buffer, byteOffset, byteLength } = text
    this.raw(Buffer.from(`"${Buffer.from(buffer, byteOffset, byteLength).toString('base64')}"`))
  }

  /** @returns whether it is ASCII all through; if not, the caller has to see whether it is UTF-8. */
  private string(text: Uint8Array): boolean {
    this.reserve(text.length * MAX_ESCAPED + 2)
    const { bytes } = this
    let at = this.length
    let seen = 0
    bytes[at++] = QUOTE
    for (let i = 0; i < text.length; i++) {
      const byte = text[i]
      seen |= byte
      const letter = ESCAPES[byte]
      if (letter === 0) bytes[at++] = byte
      else if (letter !== 1) {
        bytes[at++] = BACKSLASH
        bytes[at++] = letter
      } else {
        bytes[at++] = BACKSLASH
        bytes[at++] = 0x75
        bytes[at++] = ZERO
        bytes[at++] = ZERO
        bytes[at++] = HEX[byte >> 4]
        bytes[at++] = HEX[byte & 15]
      }
    }
    bytes[at++] = QUOTE
    this.length = at
    return seen < 0x80
  }

  private reserve(more: number): void {
    const needed = this.length + more
    if (needed <= this.bytes.length) return
    const larger = Buffer.allocUnsafeSlow(Math.max(needed, this.bytes.length * 2))
    larger.set(this.bytes.subarray(0, this.length))
    this.bytes = larger
  }
}
