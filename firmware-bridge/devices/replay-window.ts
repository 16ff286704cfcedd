// Which numbers of a session have been seen, so that each frame counts once (as in RFC 4303, section 3.4.3). Holds 64 numbers, whatever comes.

const WINDOW = 64
const MAX_U32 = 0xffff_ffff

export class ReplayWindow {
  private highest = 0
  /** Bit i: `highest - i` has been seen. */
  private seen = 0n

  /** @returns false for a number that was here before, or is so old that nobody knows. Numbers run from 1 to 2^32 - 1. */
  accept(number: number): boolean {
    if (!Number.isInteger(number) || number < 1 || number > MAX_U32) return false
    if (number > this.highest) {
      const ahead = number - this.highest
      this.seen = ahead >= WINDOW ? 1n : BigInt.asUintN(WINDOW, this.seen << BigInt(ahead)) | 1n
      this.highest = number
      return true
    }
    const behind = this.highest - number
    if (behind >= WINDOW) return false
    const bit = 1n << BigInt(behind)
    if (this.seen & bit) return false
    this.seen |= bit
    return true
  }
}
