// CRC-32C (Castagnoli), the checksum of Kafka's record batches: reflected polynomial 0x82F63B78, start and final XOR all ones
// (RFC 3720, appendix B.4 has test vectors). Slicing by sixteen: sixteen tables, sixteen bytes a step, read as four words: over twice
// as fast as eight bytes read one by one, if the tables are constants of the module.

const SLICES = 16
const [t0, t1, t2, t3, t4, t5, t6, t7, t8, t9, t10, t11, t12, t13, t14, t15] = makeTables()

function makeTables(): Int32Array[] {
  const tables = Array.from({ length: SLICES }, () => new Int32Array(256))
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1
    tables[0][byte] = crc
  }
  for (let slice = 1; slice < SLICES; slice++) {
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
  const words = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  let crc = before ^ -1
  let at = start
  for (const lastStep = end - SLICES; at <= lastStep; at += SLICES) {
    const first = crc ^ words.getInt32(at, true)
    const second = words.getInt32(at + 4, true)
    const third = words.getInt32(at + 8, true)
    const fourth = words.getInt32(at + 12, true)
    crc =
      t15[first & 0xff] ^
      t14[(first >>> 8) & 0xff] ^
      t13[(first >>> 16) & 0xff] ^
      t12[first >>> 24] ^
      t11[second & 0xff] ^
      t10[(second >>> 8) & 0xff] ^
      t9[(second >>> 16) & 0xff] ^
      t8[second >>> 24] ^
      t7[third & 0xff] ^
      t6[(third >>> 8) & 0xff] ^
      t5[(third >>> 16) & 0xff] ^
      t4[third >>> 24] ^
      t3[fourth & 0xff] ^
      t2[(fourth >>> 8) & 0xff] ^
      t1[(fourth >>> 16) & 0xff] ^
      t0[fourth >>> 24]
  }
  for (; at < end; at++) crc = (crc >>> 8) ^ t0[(crc ^ bytes[at]) & 0xff]
  return (crc ^ -1) >>> 0
}
