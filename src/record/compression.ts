// The compression of Kafka's record batches as far as Sluice reads and writes it: gzip everywhere, zstd where the running Node has it.

import { availableParallelism } from 'node:os'
import zlib from 'node:zlib'
import { GzipPool } from './gzip.js'

export type CompressionCodec = 'none' | 'gzip' | 'zstd'

/** No batch of ours decompresses to more than this; what would is damage or an attack. */
export const MAX_DECOMPRESSED_BYTES = 64 * 1024 * 1024

interface ZstdOfNewerNodes {
  zstdCompress?(bytes: Uint8Array, callback: (error: Error | null, result: Buffer) => void): void
  zstdDecompressSync?(bytes: Uint8Array, options: { maxOutputLength: number }): Buffer
}
const zstd = zlib as ZstdOfNewerNodes
const NO_ZSTD = 'this Node has no zstd; 22.15 and later have'

/** Node has zstd from 22.15 on. */
export const hasZstd = typeof zstd.zstdCompress === 'function'

/** @throws Error of zlib if the bytes are damaged or grow beyond the maximum. */
export function decompress(codec: 'gzip' | 'zstd', bytes: Uint8Array): Buffer {
  const options = { maxOutputLength: MAX_DECOMPRESSED_BYTES }
  if (codec === 'gzip') return zlib.gunzipSync(bytes, options)
  if (!zstd.zstdDecompressSync) throw new Error(NO_ZSTD)
  return zstd.zstdDecompressSync(bytes, options)
}

/** What is done beside the taking in of messages leaves it a processor, or, where there is only one, competes with one thread and not with eight. */
const BESIDE = Math.max(1, availableParallelism() - 1)
const commits = new GzipPool({})
const thorough = new GzipPool({}, BESIDE)
/** The window is half of the usual one: there is less to make ready for each batch. */
const fastest = new GzipPool({ level: zlib.constants.Z_BEST_SPEED, windowBits: 14 }, BESIDE)

export type Compress = (codec: 'gzip' | 'zstd', bytes: Uint8Array) => Promise<Buffer>

/** Compresses on the thread pool, for who is waited for. */
export const compress: Compress = (codec, bytes) => {
  if (codec === 'gzip') return commits.compress(bytes)
  return new Promise((resolve, reject) => {
    if (!zstd.zstdCompress) return reject(new Error(NO_ZSTD))
    zstd.zstdCompress(bytes, (error, result) => (error ? reject(error) : resolve(result)))
  })
}

/** The same, gzip only, for who has time. */
export const compressBeside: Compress = (_codec, bytes) => thorough.compress(bytes)

/** Takes a third of the time, for about a fifth more bytes. */
export const compressFast: Compress = (_codec, bytes) => fastest.compress(bytes)
