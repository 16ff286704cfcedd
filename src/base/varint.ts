// Kafka's variable-length integers: zigzag, then seven bits a byte, least significant first, the top bit set on all but the
// last. Source: Kafka protocol guide, "Protocol Primitive Types", VARINT and VARLONG.
//
// Numbers outside 32 bits take the slow path with divisions; the sizes and deltas of records never do.

const INT32_MAX = 0x7fffffff

/** Bytes that `writeVarint` will use for `value`, 1 to 8 (a safe integer never needs more). */
export function varintSize(value: number): number {
  if (value >= -64 && value < 64) return 1
  if (value >= -8192 && value < 8192) return 2
  let unsigned = value >= 0 ? value * 2 : -value * 2 - 1
  let size = 1
  while (unsigned >= 0x80) {
    unsigned = Math.floor(unsigned / 0x80)
    size += 1
  }
  return size
}

/** Writes a safe integer; @returns the position after it. The target must have room. */
export function writeVarint(target: Uint8Array, position: number, value: number): number {
  if (value > INT32_MAX >> 1 || value < -(INT32_MAX >> 1)) return writeLarge(target, position, value)
  let unsigned = ((value << 1) ^ (value >> 31)) >>> 0
  while (unsigned >= 0x80) {
    target[position++] = (unsigned & 0x7f) | 0x80
    unsigned >>>= 7
  }
  target[position++] = unsigned
  return position
}

function writeLarge(target: Uint8Array, position: number, value: number): number {
  let unsigned = BigInt(value) >= 0n ? BigInt(value) * 2n : -BigInt(value) * 2n - 1n
  while (unsigned >= 0x80n) {
    target[position++] = Number(unsigned & 0x7fn) | 0x80
    unsigned >>= 7n
  }
  target[position++] = Number(unsigned)
  return position
}

/** Reads one varint after another from a buffer. A read past the end or an overlong number gives NaN, and `failed` stays true. */
export class VarintReader {
  failed = false

  constructor(
    readonly bytes: Uint8Array,
    public position: number,
    readonly end: number = bytes.length,
  ) {}

  next(): number {
    // The deltas and most lengths of a record take one byte.
    const first = this.bytes[this.position]
    if (first < 0x80 && this.position < this.end) {
      this.position += 1
      return (first >>> 1) ^ -(first & 1)
    }
    return this.longer()
  }

  private longer(): number {
    let result = 0
    let factor = 1
    for (let size = 0; size < 8 && this.position < this.end; size++) {
      const byte = this.bytes[this.position++]
      result += (byte & 0x7f) * factor
      if (byte < 0x80) return result % 2 === 0 ? result / 2 : -(result + 1) / 2
      factor *= 0x80
    }
    this.failed = true
    return Number.NaN
  }
}
