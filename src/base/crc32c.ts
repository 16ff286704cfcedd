// CRC-32C (Castagnoli), the checksum of Kafka's record batches: reflected polynomial 0x82F63B78, start and final XOR all ones
// (RFC 3720, appendix B.4 has test vectors). Slicing by eight: eight tables, eight bytes a step.

const TABLES: readonly Int32Array[] = makeTables()

function makeTables(): Int32Array[] {
  const tables = Array.from({ length: 8 }, () => new Int32Array(256))
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1
    tables[0][byte] = crc
  }
  for (let slice = 1; slice < 8; slice++) {
    for (let byte = 0; byte < 256; byte++) {
      const previous = tables[slice - 1][byte]
      tables[slice][byte] = (previous >>> 8) ^ tables[0][previous & 0xff]
    }
  }
  return tables
}

/**
 * The CRC-32C of bytes[start, end), as an unsigned 32-bit number.
 * @param before The CRC-32C of bytes that come in front of these.
 */
export function crc32c(bytes: Uint8Array, start = 0, end = bytes.length, before = 0): number {
  const [t0, t1, t2, t3, t4, t5, t6, t7] = TABLES
  let crc = before ^ -1
  let at = start
  for (const lastStep = end - 8; at <= lastStep; at += 8) {
    const low = crc ^ (bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24))
    crc =
      t7[low & 0xff] ^
      t6[(low >>> 8) & 0xff] ^
      t5[(low >>> 16) & 0xff] ^
      t4[low >>> 24] ^
      t3[bytes[at + 4]] ^
      t2[bytes[at + 5]] ^
      t1[bytes[at + 6]] ^
      t0[bytes[at + 7]]
  }
  for (; at < end; at++) crc = (crc >>> 8) ^ t0[(crc ^ bytes[at]) & 0xff]
  return (crc ^ -1) >>> 0
}
