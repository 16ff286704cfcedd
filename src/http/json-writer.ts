// JSON into bytes, without a string in between: text that is UTF-8 already is copied, and only what JSON escapes is looked up. Building the same
// from strings costs five times as much, most of it when they are flattened and encoded.

import { isUtf8 } from 'node:buffer'

/** A byte of text becomes at most so many: `\u001f`. */
const MAX_ESCAPED = 6
/** Up to here a loop copies faster than a call. */
const SHORT_BYTES = 16
/** Bytes that are looked at together. */
const WORD = 4
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
  private view: DataView
  private length = 0
  /** Of the memory that the last text lay in: neighbours come from one batch. */
  private source: DataView = new DataView(new ArrayBuffer(0))

  /** @param expectedBytes It grows past that where it has to. */
  constructor(expectedBytes: number) {
    this.bytes = Buffer.allocUnsafeSlow(expectedBytes)
    this.view = new DataView(this.bytes.buffer)
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

  /** text[start, end) as a string when it is UTF-8, else after `otherwise` in base64. Both are names of fields, with the colon. */
  field(name: Uint8Array, otherwise: Uint8Array, text: Uint8Array | null, start = 0, end = text?.length ?? 0): void {
    const before = this.length
    this.raw(name)
    if (text === null) this.raw(NULL)
    if (text === null || this.string(text, start, end) || isUtf8(text.subarray(start, end))) return
    this.length = before
    this.raw(otherwise)
    const { buffer, byteOffset } = text
    this.raw(Buffer.from(`"${Buffer.from(buffer, byteOffset + start, end - start).toString('base64')}"`))
  }

  /** @returns whether it is ASCII all through; if not, the caller has to see whether it is UTF-8. */
  private string(text: Uint8Array, start: number, end: number): boolean {
    this.reserve(end - start + 2)
    this.bytes[this.length++] = QUOTE
    let seen = 0
    for (let i = start; i < end; ) {
      i = this.copyPlain(text, i, end)
      // Past the byte that stopped it; then the quick way is tried again.
      for (const resume = Math.min(i + WORD, end); i < resume; i++) {
        const byte = text[i]
        seen |= byte
        if (ESCAPES[byte] === 0) this.bytes[this.length++] = byte
        else this.escape(byte, end - i)
      }
    }
    this.bytes[this.length++] = QUOTE
    return seen < 0x80
  }

  /** Copies text as long as it is whole words of ASCII that JSON does not escape. @returns where it stopped. */
  private copyPlain(text: Uint8Array, start: number, end: number): number {
    if (this.source.buffer !== text.buffer) this.source = new DataView(text.buffer)
    const { source, view } = this
    let from = text.byteOffset + start
    let to = this.length
    for (const last = text.byteOffset + end - WORD; from <= last; from += WORD, to += WORD) {
      const word = source.getInt32(from)
      if (hasSpecialByte(word)) break
      view.setInt32(to, word)
    }
    this.length = to
    return from - text.byteOffset
  }

  /** @param left Bytes of the text from this one on, for which there has to be room. */
  private escape(byte: number, left: number): void {
    this.reserve(MAX_ESCAPED + left + 1)
    const { bytes } = this
    const letter = ESCAPES[byte]
    bytes[this.length++] = BACKSLASH
    if (letter !== 1) bytes[this.length++] = letter
    else {
      bytes[this.length++] = 0x75
      bytes[this.length++] = ZERO
      bytes[this.length++] = ZERO
      bytes[this.length++] = HEX[byte >> 4]
      bytes[this.length++] = HEX[byte & 15]
    }
  }

  private reserve(more: number): void {
    const needed = this.length + more
    if (needed <= this.bytes.length) return
    const larger = Buffer.allocUnsafeSlow(Math.max(needed, this.bytes.length * 2))
    larger.set(this.bytes.subarray(0, this.length))
    this.bytes = larger
    this.view = new DataView(larger.buffer)
  }
}

/**
 * Whether one of four bytes is a control character, a quote, a backslash or above 0x7f. Each subtraction sets a byte's top bit where it goes below
 * zero; a borrow from the byte beside it can only add to what that byte has said already.
 */
function hasSpecialByte(word: number): boolean {
  const control = word - 0x20202020
  const quote = (word ^ 0x22222222) - 0x01010101
  const backslash = (word ^ 0x5c5c5c5c) - 0x01010101
  return ((control | quote | backslash | word) & 0x80808080) !== 0
}
