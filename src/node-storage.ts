// A data directory, opened: the state database, what is kept in it, and the log. node.ts builds a running node on it, `sluice verify`
// looks through it without one.

import type { Clock } from './base/clock.js'
import type { SluiceError } from './base/errors.js'
import type { Logger } from './base/logger.js'
import type { Config } from './config/schema.js'
import { Log } from './log/log.js'
import type { StreamOptions } from './log/log-options.js'
import { Ballast } from './state/ballast.js'
import { Cursors } from './state/cursors.js'
import { claimDataDirectory, nodeIdOf, openState } from './state/data-directory.js'
import { GroupOffsets } from './state/group-offsets.js'
import { Ledger, type LedgerRow } from './state/ledger.js'
import { OffsetCeilings } from './state/offset-ceilings.js'
import { PoweredOnClock } from './state/powered-on-clock.js'
import type { StateStore } from './state/types.js'

export interface StorageOptions {
  readonly logger: Logger
  readonly clock: Clock
  /** Called for a failed write after which nothing may be trusted (D4): the process must end. */
  readonly onFatal: (error: SluiceError) => void
  /** The streams to open, asked once the directory is known to be nobody else's. Default: those of the configuration. */
  readonly streams?: (ceilings: OffsetCeilings) => Promise<readonly StreamOptions[]>
}

export interface NodeStorage {
  readonly nodeId: string
  readonly state: StateStore
  readonly cursors: Cursors
  readonly groupOffsets: GroupOffsets
  readonly ledger: Ledger
  /** The ledger as it was found: damage that opening the log has come upon is in `ledger` only. */
  readonly ledgerAsFound: readonly LedgerRow[]
  readonly poweredOn: PoweredOnClock
  readonly log: Log
  /** Commits what was appended, seals, closes. */
  close(): Promise<void>
}

/** @throws SluiceError DATA_DIR_LOCKED while another node uses it, and as claimDataDirectory and Log.open: nothing stays open then. */
export async function openStorage(config: Config, options: StorageOptions): Promise<NodeStorage> {
  const { logger, clock, onFatal } = options
  const opened: (() => Promise<void>)[] = []
  const close = async (): Promise<void> => {
    while (opened.length > 0) await opened.pop()?.()
  }
  try {
    await claimDataDirectory(config.dataDir)
    const ballast = new Ballast(config.dataDir, config.storage.ballastSize)
    const state = await ballast.withRoom(() => openState(config.dataDir, { logger: logger.child('state'), onFatal }))
    opened.push(() => state.close())
    const nodeId = await nodeIdOf(config.dataDir, config.nodeId, logger)
    const poweredOn = await PoweredOnClock.open(state, clock)
    opened.push(() => poweredOn.close())
    const cursors = await Cursors.open(state)
    const groupOffsets = await GroupOffsets.open(state, clock.wallMs)
    const ledger = await Ledger.open(state)
    const ledgerAsFound = ledger.list()
    const ceilings = await OffsetCeilings.open(state)
    const log = await Log.open({
      dataDirectory: config.dataDir,
      streams: (await options.streams?.(ceilings)) ?? configuredStreams(config),
      segmentBytes: config.storage.segmentSize,
      memoryBudgetBytes: config.storage.memoryBudget,
      maxBatchBytes: config.storage.maxBatchBytes,
      maxPendingBytes: config.storage.maxPendingBytes,
      tailCacheBytes: config.storage.tailCache,
      maxRecordBytes: config.mqtt.maxPacketSize * 2,
      diskBudgetBytes: config.storage.diskBudget ?? null,
      ceilings,
      cursors,
      groupOffsets,
      ballast,
      ledger,
      poweredOn,
      mirrorRetention: { ...config.mirrors.retention, maxAgeMs: config.mirrors.retention.maxAge ?? null },
      destinationsOf: (stream) =>
        config.upstream.filter(({ streams }) => streams.some((one) => covers(one, stream))).map(({ name }) => name),
      clock,
      logger,
      onFatal,
    })
    opened.push(() => log.close())
    return { nodeId, state, cursors, groupOffsets, ledger, ledgerAsFound, poweredOn, log, close }
  } catch (error) {
    await close()
    throw error
  }
}

/** `*.telemetry` stands for every mirror of a stream `telemetry`. */
function covers(listed: string, stream: string): boolean {
  if (!listed.startsWith('*.')) return listed === stream
  const [, name, older] = stream.split('.')
  return name === listed.slice(2) && older === undefined
}

function configuredStreams(config: Config): StreamOptions[] {
  return config.stream.map(({ retention, ...stream }) => ({
    ...stream,
    retention: { ...retention, maxAgeMs: retention.maxAge ?? null },
  }))
}
