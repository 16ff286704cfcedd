// Where `sluice verify` finds what it checks: at a running node over HTTP, or in a data directory that no node uses, which it opens
// itself as a start of a node would, except that nothing is removed for being old or too much.

import { existsSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { systemClock } from '../base/clock.js'
import { SluiceError } from '../base/errors.js'
import { Logger } from '../base/logger.js'
import type { Config } from '../config/schema.js'
import type { StreamOptions } from '../log/log-options.js'
import type { DamagedRange, VerifiedStretch } from '../log/verify.js'
import type { OffsetCeilings } from '../state/offset-ceilings.js'
import type { ApiClient } from './api-client.js'
import type { StreamInfo } from './consume-partitions.js'

export interface StretchRequest {
  readonly stream: string
  readonly partition: number
  readonly offset: number
  readonly maxRecords: number
}

/** Offsets are plain numbers here: they may come from another program. */
export type Stretch = Omit<VerifiedStretch, 'firstOffset' | 'nextOffset'> & { firstOffset: number; nextOffset: number }

export interface VerifySource {
  /** Ranges that opening the log found to be lost before the first offset that is stored. */
  lostBefore(stream: string, partition: number, firstOffset: number): readonly DamagedRange[]
  streams(): Promise<readonly Pick<StreamInfo, 'name' | 'partitions' | 'bytes'>[]>
  verify(request: StretchRequest): Promise<Stretch>
  close(): Promise<void>
}

/** As the node answers. */
interface Answer {
  readonly first_offset: number
  readonly next_offset: number
  readonly records: number
  readonly bytes: number
  readonly batches: number
  readonly damage: readonly {
    readonly first_offset: number
    readonly last_offset: number
    readonly problem: string
    readonly known: boolean
  }[]
}

export function runningNode(api: ApiClient): VerifySource {
  return {
    lostBefore: () => [],
    streams: async () => (await api.get<{ streams: StreamInfo[] }>('/v1/streams')).streams,
    async verify({ stream, partition, offset, maxRecords }) {
      const path = `/v1/streams/${encodeURIComponent(stream)}/partitions/${partition}/verify`
      const query = { offset, max_records: maxRecords }
      const { first_offset, next_offset, damage, ...counts } = await api.post<Answer>(path, {}, { query })
      return {
        ...counts,
        firstOffset: first_offset,
        nextOffset: next_offset,
        damage: damage.map(({ first_offset: firstOffset, last_offset: lastOffset, problem, known }) => {
          return { firstOffset, lastOffset, problem, known }
        }),
      }
    },
    close: async () => {},
  }
}

/**
 * @param say Takes what the log has to say about damage, a line each.
 * @throws SluiceError DATA_DIR_LOCKED while a node uses the directory; NOT_FOUND if there is no data in it.
 */
export async function dataDirectory(config: Config, say: (line: string) => void): Promise<VerifySource> {
  const { dataDir } = config
  if (!existsSync(join(dataDir, 'format')))
    throw new SluiceError('NOT_FOUND', `${dataDir} is not a data directory of Sluice: it has no file "format"`, {
      dataDir,
    })
  const [{ openStorage }, { newDamage, verifyStretch }, { toOffset, toPartitionId }] = await Promise.all([
    import('../node-storage.js'),
    import('../log/verify.js'),
    import('../record/record.js'),
  ])
  const failed: SluiceError[] = []
  const storage = await openStorage(
    { ...config, nodeId: undefined, upstream: [] },
    {
      logger: new Logger('sluice', 'error', say),
      clock: systemClock,
      onFatal: (error) => failed.push(error),
      streams: (ceilings) => everythingStored(config, ceilings),
    },
  ).catch((error) => {
    throw inUse(error, dataDir)
  })
  const { log, ledger, ledgerAsFound } = storage
  return {
    lostBefore: (stream, partition, firstOffset) =>
      newDamage(ledger.list(), ledgerAsFound, stream, toPartitionId(partition)).filter(
        ({ lastOffset }) => lastOffset < firstOffset,
      ),
    async streams() {
      return [...log.streams.values()].map((stream) => ({
        name: stream.name,
        bytes: stream.stats().bytes,
        partitions: Array.from({ length: stream.partitions }, (_, partition) => ({
          partition,
          log_start_offset: stream.logStartOffset(toPartitionId(partition)),
          high_watermark: stream.highWatermark(toPartitionId(partition)),
        })),
      }))
    },
    async verify({ stream, partition, offset, maxRecords }) {
      if (failed.length > 0) throw failed[0]
      return verifyStretch(log.stream(stream), {
        partition: toPartitionId(partition),
        from: toOffset(offset),
        maxRecords,
        // What opening the log has come upon is new to whoever asks.
        ledger: ledgerAsFound,
      })
    },
    close: () => storage.close(),
  }
}

/** Every stream on disk with all its partitions, kept whatever its age and size. */
async function everythingStored(config: Config, ceilings: OffsetCeilings): Promise<StreamOptions[]> {
  const names = await readdir(join(config.dataDir, 'streams')).catch(() => [])
  return names.sort().map((name) => ({
    name,
    topics: [],
    partitions: Math.max(1, ceilings.partitionsOf(name)),
    allPartitions: true,
    // Its limits stay as they are on disk, and nothing is written.
    retired: true,
    lingerMs: 0,
    compression: 'none',
    retention: { maxBytes: Number.POSITIVE_INFINITY, maxAgeMs: null, onFull: 'drop_oldest' },
  }))
}

function inUse(error: unknown, directory: string): unknown {
  if (!(error instanceof SluiceError) || error.code !== 'DATA_DIR_LOCKED') return error
  const message = `${directory} is in use by another node; run it without --data and --config to have that node verify what it stores`
  return new SluiceError('DATA_DIR_LOCKED', message, error.details, error)
}
