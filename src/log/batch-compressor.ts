// Compresses record batches on their way to the disk, on the thread pool, where it pays: not the tiny ones, not what does not shrink, and
// not while commits are so large that compressing them would hold the acks back.

import { type Compress, type CompressionCodec, compress } from '../record/compression.js'
import { codecOf, withCompressedRecords } from '../record/record-batch.js'
import type { StoredBatch } from './batch-reader.js'

/** Smaller batches gain less than the header costs. */
const MIN_BATCH_BYTES = 512
/** A commit with more than this has gathered because the node is busy: the pool is behind. */
export const MAX_COMMIT_BYTES = 256 * 1024
/** What compression must save, of the batch. */
const MIN_SAVING = 0.15
/** Batches let through as they are after one that did not shrink. */
const PAUSE_AFTER_FAILURE = 16

export class BatchCompressor {
  private pause = 0

  constructor(private readonly codec: CompressionCodec) {}

  /** @returns the batches in the same order, those compressed that gain by it. */
  async compress(
    batches: readonly StoredBatch[],
    commitBytes: number,
    how: Compress = compress,
  ): Promise<readonly StoredBatch[]> {
    if (this.codec === 'none' || commitBytes > MAX_COMMIT_BYTES) return batches
    return Promise.all(batches.map((stored) => this.compressOne(this.codec as 'gzip' | 'zstd', stored, how)))
  }

  private async compressOne(codec: 'gzip' | 'zstd', stored: StoredBatch, how: Compress): Promise<StoredBatch> {
    const { partition, batch } = stored
    if (batch.length < MIN_BATCH_BYTES || codecOf(batch) !== 'none') return stored
    if (this.pause > 0) {
      this.pause -= 1
      return stored
    }
    const smaller = await withCompressedRecords(batch, codec, how)
    if (smaller.length <= batch.length * (1 - MIN_SAVING)) return { partition, batch: smaller }
    this.pause = PAUSE_AFTER_FAILURE
    return stored
  }
}
