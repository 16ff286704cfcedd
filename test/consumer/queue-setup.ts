// For tests of work queues.

import { join } from 'node:path'
import { test } from 'uvu'
import { silentLogger } from '../../src/base/logger.js'
import type { StartPosition } from '../../src/base/start-position.js'
import type { QueueReceive, WaitForMessages } from '../../src/consumer/queue-words.js'
import { WorkQueues, type WorkQueuesOptions } from '../../src/consumer/work-queues.js'
import { type LogRecord, type PartitionId, toOffset } from '../../src/record/record.js'
import { decodeRecords } from '../../src/record/record-batch.js'
import { LevelStateStore } from '../../src/state/state-store.js'
import { FakeClock } from '../helpers/fake-clock.js'
import { MemoryStream, memoryCatalog } from '../helpers/memory-streams.js'
import { tempDir } from '../helpers/temp-dir.js'

type Asked = Partial<QueueReceive & { start: StartPosition }>

/** Work queues over streams in memory, their rows in a real state database; `limited` has dead letters after three attempts. */
export class QueueSetup {
  readonly clock = new FakeClock()
  readonly stream = new MemoryStream('jobs', 2)
  readonly dead = new MemoryStream('jobs-dead', 1, [])
  private readonly directory = join(tempDir(), 'state')
  private state!: LevelStateStore
  queues!: WorkQueues

  static async start(options: Partial<WorkQueuesOptions> = {}): Promise<QueueSetup> {
    const setup = new QueueSetup()
    await setup.restart(options)
    return setup
  }

  /** As a node that was killed: only what is on disk is left. */
  async restart(options: Partial<WorkQueuesOptions> = {}): Promise<void> {
    await this.close()
    this.state = await LevelStateStore.open({ directory: this.directory, logger: silentLogger, onFatal: () => {} })
    const common = { stream: 'jobs', deadLetter: 'jobs-dead', visibilityTimeoutMs: 30_000 }
    this.queues = await WorkQueues.open({
      streams: memoryCatalog(this.stream, this.dead),
      state: this.state,
      clock: this.clock,
      logger: silentLogger,
      configured: [{ ...common, group: 'limited', maxAttempts: 3 }],
      options,
    })
  }

  receive(group: string, asked: Asked = {}, wait: WaitForMessages = async () => true) {
    const standard = { maxMessages: 100, maxBytes: 1_000_000, waitMs: 0, orderedByKey: false }
    return this.queues.receive('jobs', group, { ...standard, start: { at: 'earliest' }, ...asked }, wait)
  }

  async values(group: string, asked: Asked = {}): Promise<string[]> {
    return (await this.receive(group, asked)).messages.map(({ record }) => String(record.value))
  }

  async receipts(group: string, asked: Asked = {}): Promise<string[]> {
    return (await this.receive(group, asked)).messages.map(({ receipt }) => receipt)
  }

  ack(group: string, receipts: readonly string[]) {
    return this.queues.ack('jobs', group, receipts)
  }

  nack(
    group: string,
    receipts: readonly string[],
    more: { delayMs?: number; reason?: string; deadLetter?: boolean } = {},
  ) {
    return this.queues.nack('jobs', group, receipts, { delayMs: 0, reason: '', deadLetter: false, ...more })
  }

  async letters(): Promise<LogRecord[]> {
    const { batches } = await this.dead.fetch(0 as PartitionId, toOffset(0), { maxBytes: 1 << 20 })
    return batches.flatMap((batch) => decodeRecords(batch, toOffset(0)))
  }

  async close(): Promise<void> {
    await this.queues?.stop()
    await this.state?.close()
  }
}

export const withSetup = (name: string, work: (setup: QueueSetup) => Promise<void>): void => {
  test(name, async () => {
    const setup = await QueueSetup.start()
    await work(setup)
    await setup.close()
  })
}
