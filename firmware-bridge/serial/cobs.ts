// Consistent Overhead Byte Stuffing (Cheshire & Baker 1999): frames without a zero byte, so that a zero always ends one. Whatever arrives, the
// next zero is a fresh start.

/** @returns the stuffed content and the delimiter. */
export function cobsEncode(content: Uint8Array): Buffer {
  const wire = Buffer.alloc(content.length + Math.floor(content.length / 254) + 2)
  let codeAt = 0
  let at = 1
  for (let i = 0; i < content.length; i++) {
    if (content[i] !== 0) wire[at++] = content[i]
    const runIsFull = at - codeAt === 255
    if (content[i] === 0 || (runIsFull && i + 1 < content.length)) {
      wire[codeAt] = at - codeAt
      codeAt = at++
    }
  }
  wire[codeAt] = at - codeAt
  return wire.subarray(0, at + 1)
}

/** Cuts a stream of bytes into contents. Holds at most one, of `maxBytes`. */
export class CobsReader {
  /** Frames whose stuffing is broken, and those that were too long. */
  malformed = 0
  tooLong = 0
  private readonly content: Buffer
  private length = 0
  /** Bytes of the current run still to come, and whether a zero follows it. */
  private left = 0
  private zeroFollows = false
  private overflowed = false
  private empty = true

  /** @param maxBytes Longest content, inclusive. */
  constructor(maxBytes: number) {
    this.content = Buffer.alloc(maxBytes)
  }

  /** @param onContent Gets a view that is valid during the call. */
  push(chunk: Uint8Array, onContent: (content: Buffer) => void): void {
    for (const byte of chunk) {
      if (byte === 0) this.end(onContent)
      else if (this.left > 0) {
        this.left -= 1
        this.add(byte)
      } else {
        if (this.zeroFollows) this.add(0)
        this.left = byte - 1
        this.zeroFollows = byte < 255
        this.empty = false
      }
    }
  }

  private add(byte: number): void {
    if (this.length < this.content.length) this.content[this.length++] = byte
    else this.overflowed = true
  }

  private end(onContent: (content: Buffer) => void): void {
    const { length, left, overflowed, empty } = this
    this.length = this.left = 0
    this.zeroFollows = this.overflowed = false
    this.empty = true
    if (empty) return
    if (overflowed) this.tooLong += 1
    else if (left > 0) this.malformed += 1
    else onContent(this.content.subarray(0, length))
  }
}
