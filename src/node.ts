// The composition root: configuration in, running node out. What starts when, and stops in the opposite order, is readable top to bottom;
// nothing here decides anything else.

import { type Clock, systemClock } from './base/clock.js'
import type { SluiceError } from './base/errors.js'
import { Logger } from './base/logger.js'
import type { Config } from './config/schema.js'
import { Log } from './log/log.js'
import { Ballast } from './state/ballast.js'
import { Cursors } from './state/cursors.js'
import { claimDataDirectory, nodeIdOf, openState } from './state/data-directory.js'
import { Ledger } from './state/ledger.js'
import { OffsetCeilings } from './state/offset-ceilings.js'
import { PoweredOnClock } from './state/powered-on-clock.js'

export interface NodeOptions {
  readonly logger?: Logger
  readonly clock?: Clock
}

export interface RunningNode {
  readonly nodeId: string
  readonly mqttAddresses: readonly string[]
  readonly httpAddresses: readonly string[]
  /** Stops taking connections, makes durable what was taken, closes. */
  stop(): Promise<void>
  /** Resolves when the node cannot go on (D4): the process must end, a supervisor restarts it. */
  readonly failed: Promise<Error>
}

/** Starts a node. @throws SluiceError when it cannot: nothing stays open then. */
export async function startNode(config: Config, options: NodeOptions = {}): Promise<RunningNode> {
  const logger = options.logger ?? new Logger('sluice', config.logLevel)
  const clock = options.clock ?? systemClock
  const started: (() => Promise<void>)[] = []
  /** Whatever was started is stopped, last first. */
  const stop = async (): Promise<void> => {
    while (started.length > 0) await started.pop()?.()
  }
  let fail: (error: SluiceError) => void = () => {}
  const failed = new Promise<Error>((resolve) => {
    fail = resolve
  })
  try {
    await claimDataDirectory(config.dataDir)
    const state = await openState(config.dataDir, { logger: logger.child('state'), onFatal: fail })
    started.push(() => state.close())
    const nodeId = await nodeIdOf(config.dataDir, config.nodeId, logger)
    const poweredOn = await PoweredOnClock.open(state, clock)
    started.push(() => poweredOn.close())
    const cursors = await Cursors.open(state)
    const ledger = await Ledger.open(state)

    const log = await Log.open({
      dataDirectory: config.dataDir,
      streams: config.stream.map(({ retention, ...stream }) => ({
        ...stream,
        retention: { ...retention, maxAgeMs: retention.maxAge ?? null },
      })),
      segmentBytes: config.storage.segmentSize,
      memoryBudgetBytes: config.storage.memoryBudget,
      maxBatchBytes: config.storage.maxBatchBytes,
      maxPendingBytes: config.storage.maxPendingBytes,
      maxRecordBytes: config.mqtt.maxPacketSize * 2,
      ceilings: await OffsetCeilings.open(state),
      cursors,
      ballast: new Ballast(config.dataDir, config.storage.ballastSize),
      ledger,
      poweredOn,
      destinationsOf: (stream) =>
        config.upstream.filter(({ streams }) => streams.includes(stream)).map(({ name }) => name),
      clock,
      logger,
      onFatal: fail,
    })
    started.push(() => log.close())

    return { nodeId, mqttAddresses: [], httpAddresses: [], stop, failed }
  } catch (error) {
    await stop()
    throw error
  }
}
