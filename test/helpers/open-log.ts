// A log with its state in a directory, opened as a node would, small enough that rolling and retention happen in tests.

import { systemClock } from '../../src/base/clock.js'
import type { SluiceError } from '../../src/base/errors.js'
import { silentLogger } from '../../src/base/logger.js'
import { Log } from '../../src/log/log.js'
import type { LogOptions, StreamOptions } from '../../src/log/log-options.js'
import {
  attributesOf,
  type LogRecord,
  type Offset,
  type PartitionId,
  type RecordInput,
} from '../../src/record/record.js'
import { decodeRecords } from '../../src/record/record-batch.js'
import { Ballast } from '../../src/state/ballast.js'
import { Cursors } from '../../src/state/cursors.js'
import { openState } from '../../src/state/data-directory.js'
import { GroupOffsets } from '../../src/state/group-offsets.js'
import { Ledger } from '../../src/state/ledger.js'
import { CEILING_STEP, OffsetCeilings } from '../../src/state/offset-ceilings.js'
import { PoweredOnClock } from '../../src/state/powered-on-clock.js'
import { UpstreamFacts } from '../../src/state/upstream-facts.js'

export interface TestLog {
  readonly directory: string
  readonly log: Log
  readonly cursors: Cursors
  readonly groupOffsets: GroupOffsets
  readonly ledger: Ledger
  readonly facts: UpstreamFacts
  readonly ballast: Ballast
  readonly fatal: SluiceError[]
  close(): Promise<void>
}

export type TestStream = Partial<StreamOptions> & { readonly name: string }

/** @param more What differs from small defaults; `destinations` are upstreams that list every stream, `onFatal` hears of every failure. */
export async function openLog(
  dataDirectory: string,
  streams: readonly TestStream[],
  {
    destinations = [],
    onFatal: hear = () => {},
    ballastBytes = 512 * 1024,
    ceilingStep = CEILING_STEP,
    ...more
  }: Partial<LogOptions> & { destinations?: readonly string[]; ballastBytes?: number; ceilingStep?: number } = {},
): Promise<TestLog> {
  const fatal: SluiceError[] = []
  const onFatal = (error: SluiceError): void => {
    fatal.push(error)
    hear(error)
  }
  const ballast = new Ballast(dataDirectory, ballastBytes)
  const state = await ballast.withRoom(() => openState(dataDirectory, { logger: more.logger ?? silentLogger, onFatal }))
  const cursors = await Cursors.open(state)
  const groupOffsets = await GroupOffsets.open(state, Date.now)
  const ledger = await Ledger.open(state)
  const facts = await UpstreamFacts.open(state)
  const poweredOn = await PoweredOnClock.open(state, more.clock ?? systemClock)
  const log = await Log.open({
    dataDirectory,
    streams: streams.map((stream) => ({
      topics: ['#'],
      partitions: 1,
      lingerMs: 0,
      compression: 'none',
      retention: { maxBytes: 1 << 30, maxAgeMs: null, onFull: 'drop_oldest' },
      ...stream,
    })),
    mirrorRetention: { maxBytes: 1 << 30, maxAgeMs: null, onFull: 'drop_oldest' },
    segmentBytes: 16 * 1024 * 1024,
    memoryBudgetBytes: 128 * 1024 * 1024,
    maxBatchBytes: 64 * 1024,
    maxPendingBytes: 4 * 1024 * 1024,
    tailCacheBytes: 256 * 1024,
    maxRecordBytes: 1024 * 1024,
    diskBudgetBytes: null,
    ceilings: await OffsetCeilings.open(state, ceilingStep),
    cursors,
    groupOffsets,
    ballast,
    ledger,
    poweredOn,
    destinationsOf: () => destinations,
    clock: systemClock,
    logger: silentLogger,
    onFatal,
    ...more,
  })
  // The log's own timers do not keep a process alive; a test that waits for one of them does.
  const keepAlive = setInterval(() => {}, 1000)
  const close = async (): Promise<void> => {
    clearInterval(keepAlive)
    await log.close()
    await poweredOn.close()
    await state.close()
  }
  return { directory: dataDirectory, log, cursors, groupOffsets, ledger, facts, ballast, fatal, close }
}

export function recordOf(value: string | Buffer, more: Partial<RecordInput> = {}): RecordInput {
  const bytes = Buffer.from(value)
  return {
    timestampMs: 1_700_000_000_000,
    key: Buffer.from('sensors/1/temp'),
    value: bytes,
    valueStart: 0,
    valueEnd: bytes.length,
    headers: [],
    attributes: attributesOf(1, false),
    ...more,
  }
}

/** Everything from `from` to the high watermark, as it is on disk. */
export async function readAll(log: Log, stream: string, partition = 0, from?: number): Promise<LogRecord[]> {
  const reader = log.stream(stream)
  const id = partition as PartitionId
  let next = (from ?? reader.logStartOffset(id)) as Offset
  const records: LogRecord[] = []
  while (next < reader.highWatermark(id)) {
    const { batches, nextOffset } = await reader.fetch(id, next, { maxBytes: 256 * 1024, fromDisk: true })
    for (const batch of batches) records.push(...decodeRecords(batch, next))
    next = nextOffset
  }
  return records
}
