// Reads one partition from a place that the program keeps itself: with the results, in one transaction of its own database, it makes each
// record count exactly once.

import { SluiceError } from '../base/errors.js'
import { hasZstd } from '../record/compression.js'
import { type ConsumerRecord, type JsonRecord, recordOfJson, recordsOfBatches } from './consumer-record.js'
import type { HttpTransport } from './http-transport.js'
import { Pauses } from './pauses.js'

export interface PartitionReaderOptions {
  readonly stream: string
  readonly partition: number
  /** The next offset, or `earliest` (default), `latest`, `@TIME`. */
  readonly from?: number | string
  /** Ends at what was stored when it began, instead of waiting for more. Default false. */
  readonly untilEnd?: boolean
  readonly maxBytes?: number
  readonly waitMs?: number
  readonly signal?: AbortSignal
  /** Something failed and is tried again. */
  readonly onTrouble?: (error: SluiceError) => void
}

interface Page {
  readonly records: readonly ConsumerRecord[]
  readonly next: number
  readonly highWatermark: number
}

/** @throws SluiceError OFFSET_OUT_OF_RANGE (details: log_start_offset, high_watermark), and what cannot be tried again. */
export async function* readPartition(
  transport: HttpTransport,
  options: PartitionReaderOptions,
): AsyncGenerator<readonly ConsumerRecord[], void, undefined> {
  const signal = options.signal ?? new AbortController().signal
  const pauses = new Pauses(100, 10_000, signal)
  let from: number | string = options.from ?? 'earliest'
  // `latest` has to become an offset before anything is waited for.
  let waitMs = 0
  let end: number | null = null
  while (!signal.aborted) {
    let page: Page
    try {
      page = await fetchPage(transport, options, from, waitMs, signal)
      pauses.reset()
    } catch (error) {
      if (signal.aborted) return
      if (!(error instanceof SluiceError) || !error.retriable) throw error
      options.onTrouble?.(error)
      await pauses.next()
      continue
    }
    const { records, next, highWatermark } = page
    end ??= highWatermark
    waitMs = options.untilEnd ? 0 : (options.waitMs ?? 30_000)
    from = next
    if (records.length > 0) yield records
    if (options.untilEnd && next >= end) return
  }
}

async function fetchPage(
  transport: HttpTransport,
  { stream, partition, maxBytes = 1024 * 1024 }: PartitionReaderOptions,
  offset: number | string,
  waitMs: number,
  signal: AbortSignal,
): Promise<Page> {
  const path = `/v1/streams/${encodeURIComponent(stream)}/partitions/${partition}/records`
  const query = { offset, max_bytes: maxBytes, wait_ms: waitMs }
  const { headers, body } = await transport.send(path, {
    query,
    waitMs,
    signal,
    accept: 'application/vnd.sluice.batches',
  })
  const place = {
    next: Number(headers['x-sluice-next-offset']),
    highWatermark: Number(headers['x-sluice-high-watermark']),
  }
  // Batches are not cut: what lies before the place asked for was read already.
  const from = typeof offset === 'number' ? offset : Number(headers['x-sluice-offset'])
  try {
    return { ...place, records: recordsOfBatches(stream, partition, body, from) }
  } catch (error) {
    if (hasZstd || !(error instanceof SluiceError) || error.code !== 'CORRUPT_MESSAGE') throw error
  }
  const page = await transport.json<{ records: JsonRecord[]; next_offset: number; high_watermark: number }>(path, {
    query: { ...query, offset: from, wait_ms: 0 },
    signal,
  })
  return { records: page.records.map(recordOfJson), next: page.next_offset, highWatermark: page.high_watermark }
}
