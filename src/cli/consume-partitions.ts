// Reading a stream without a group: from a place, through all its partitions, up to the end or on and on. Nothing is remembered.

import { Backoff } from '../base/backoff.js'
import { SluiceError } from '../base/errors.js'
import { sleep } from '../base/sleep.js'
import type { ApiClient } from './api-client.js'
import type { Output } from './output.js'
import type { ApiRecord } from './record-format.js'
import type { RecordPrinter } from './record-printer.js'

const MAX_RECORDS_PER_REQUEST = 1_000
const WAIT_MS = 30_000
/** Partitions that are waited on at once, each with a connection of its own; more share these, each waiting its turn. */
const MAX_LANES = 6
const SHARED_LANE_WAIT_MS = 250

export interface StreamInfo {
  readonly name: string
  readonly topics: readonly string[]
  /** Of the mirror of another node's stream: where its records were first acknowledged, and who forwards them. */
  readonly origin?: string
  readonly via?: string
  readonly partitions: readonly {
    readonly partition: number
    readonly log_start_offset: number
    readonly high_watermark: number
  }[]
  readonly bytes: number
  readonly segments: number
}

interface Page {
  readonly records: readonly ApiRecord[]
  readonly next_offset: number
}

export interface PartitionReading {
  readonly api: ApiClient
  readonly stream: StreamInfo
  /** Only this one; undefined for all. */
  readonly partition: number | undefined
  /** As in the query of GET …/records. */
  readonly from: string
  /** Go on waiting at the end. */
  readonly follow: boolean
  readonly printer: RecordPrinter
  readonly stderr: Output
  readonly signal: AbortSignal
}

/** @throws SluiceError, AbortError once `signal` is aborted. */
export async function consumePartitions(reading: PartitionReading): Promise<void> {
  const { stream, partition, follow } = reading
  const chosen = stream.partitions.filter((each) => partition === undefined || each.partition === partition)
  if (chosen.length === 0)
    throw new SluiceError(
      'UNKNOWN_STREAM_OR_PARTITION',
      `stream ${stream.name} has no partition ${partition}: it has ${stream.partitions.length}, counted from 0`,
    )
  if (!follow) {
    // One after the other: the same log always prints the same.
    for (const { partition: id, high_watermark: end } of chosen) await readUpTo(reading, id, end)
    return
  }
  const lanes = Array.from({ length: Math.min(MAX_LANES, chosen.length) }, (_, lane) =>
    chosen.filter((_each, i) => i % MAX_LANES === lane).map((each) => each.partition),
  )
  const enough = new AbortController()
  const signal = AbortSignal.any([reading.signal, enough.signal])
  try {
    await Promise.all(lanes.map((partitions) => followLane({ ...reading, signal }, partitions, enough)))
  } catch (error) {
    if (!reading.printer.isDone) throw error
  } finally {
    enough.abort()
  }
}

async function readUpTo(reading: PartitionReading, partition: number, end: number): Promise<void> {
  let offset: string | number = reading.from
  while (!reading.printer.isDone) {
    const page = await fetchPage(reading, partition, offset, 0)
    await printAll(
      reading,
      page.records.filter((record) => record.offset < end),
    )
    if (page.next_offset >= end || page.next_offset === offset) return
    offset = page.next_offset
  }
}

async function followLane(
  reading: PartitionReading,
  partitions: readonly number[],
  enough: AbortController,
): Promise<void> {
  const next = new Map<number, string | number>(partitions.map((partition) => [partition, reading.from]))
  const backoff = new Backoff({ baseMs: 250, maxMs: 5_000 })
  const waitMs = partitions.length === 1 ? WAIT_MS : SHARED_LANE_WAIT_MS
  let lost = false
  // `latest` has to become an offset before anything is waited for, or what comes in between would be missed.
  let settled = false
  while (!reading.printer.isDone) {
    for (const [partition, offset] of next) {
      try {
        const page = await fetchPage(reading, partition, offset, settled ? waitMs : 0)
        if (lost) await reading.stderr.line('The node is back.')
        lost = false
        backoff.reset()
        next.set(partition, page.next_offset)
        await printAll(reading, page.records)
      } catch (error) {
        const pause = settled && error instanceof SluiceError && error.retriable
        if (!pause) throw error
        if (!lost) await reading.stderr.line(`${error.message}; trying again`)
        lost = true
        await sleep(Math.max(50, backoff.nextMs()), reading.signal)
        reading.signal.throwIfAborted()
      }
    }
    settled = true
  }
  enough.abort()
}

async function printAll({ printer, signal }: PartitionReading, records: readonly ApiRecord[]): Promise<void> {
  const printed = await printer.print(records)
  // Nobody reads stdout any more.
  if (printed.length < records.length && !printer.isDone) signal.throwIfAborted()
}

function fetchPage(
  { api, stream, printer, signal }: PartitionReading,
  partition: number,
  offset: string | number,
  waitMs: number,
): Promise<Page> {
  return api.get<Page>(`/v1/streams/${stream.name}/partitions/${partition}/records`, {
    query: { offset, max_records: Math.min(MAX_RECORDS_PER_REQUEST, printer.missing), wait_ms: waitMs || undefined },
    waitMs,
    signal,
  })
}
