// One partition of a mirror on its way to the subscribers here; see republisher.ts. Reads a stretch, publishes its records, waits until they are
// durable, reads on. What the log does not take now is offered again; what it never takes is entered in the ledger.

import type { Clock } from '../base/clock.js'
import { messageOf, SluiceError } from '../base/errors.js'
import type { Logger } from '../base/logger.js'
import type { MirrorStream } from '../log/mirror-stream.js'
import type { Commit } from '../log/types.js'
import {
  type LogRecord,
  type Offset,
  type PartitionId,
  type Qos,
  qosOf,
  type RecordHeader,
  retainOf,
} from '../record/record.js'
import { decodeRecords } from '../record/record-batch.js'
import type { Ledger, LedgerReason } from '../state/ledger.js'

interface RepublishedMessage {
  readonly mqttTopic: string
  readonly payload: Uint8Array
  readonly qos: Qos
  readonly retain: boolean
  readonly headers: readonly RecordHeader[]
}

export interface RepublishLaneOptions {
  /** Names the partition for ever, and no other. */
  readonly id: string
  readonly mirror: Pick<MirrorStream, 'name' | 'fetch' | 'logStartOffset' | 'highWatermark' | 'onChange'>
  readonly partition: PartitionId
  readonly from: Offset
  /** Of {topic}. */
  readonly template: string
  /**
   * The publish path; a message with a number that is not above the highest stored of its epoch is not stored again.
   * @throws SluiceError, with nothing done, when the message is not taken.
   */
  readonly publish: (message: RepublishedMessage, by: NumberedBy) => { readonly commit: Pick<Commit, 'durable'> }
  readonly ledger: Pick<Ledger, 'add'>
  readonly clock: Clock
  readonly logger: Logger
}

interface NumberedBy {
  readonly id: string
  readonly epoch: number
  readonly sequence: number
}

/** As for other records that subscribers here are not given. */
const DESTINATION = 'subscribers'
const FETCH_BYTES = 256 * 1024
/** How long what the log does not take now waits. */
const RETRY_MS = 200
/** These mean "not now". */
const PASSING = ['TOO_MANY_REQUESTS', 'STORAGE_FULL', 'STORAGE_READ_ONLY']
const SEQUENCES = 2 ** 32
const EMPTY: Buffer = Buffer.alloc(0)

export class RepublishLane {
  /** The next offset to republish; all below it are durable there, or in the ledger. */
  position: Offset
  private running: Promise<void> | null = null
  private stopped = false
  private endPause = (): void => {}
  private readonly stopListening: () => void
  /** Why it does not go on, as the log was told. */
  private problem: string | null = null

  constructor(readonly options: RepublishLaneOptions) {
    this.position = options.from
    this.stopListening = options.mirror.onChange(() => this.wake())
    this.wake()
  }

  /** Resolves once nothing is under way any more. */
  async stop(): Promise<void> {
    this.stopped = true
    this.stopListening()
    this.endPause()
    await this.running
  }

  private get isBehind(): boolean {
    const { mirror, partition } = this.options
    return !this.stopped && this.position < Math.max(mirror.highWatermark(partition), mirror.logStartOffset(partition))
  }

  private wake(): void {
    if (this.running !== null || !this.isBehind) return
    this.running = this.run().finally(() => {
      this.running = null
      this.wake()
    })
  }

  private async run(): Promise<void> {
    while (this.isBehind) {
      try {
        if (!(await this.step())) return
        this.problem = null
      } catch (error) {
        if (error instanceof SluiceError && error.code === 'SHUTTING_DOWN') this.stopped = true
        if (this.stopped) return
        this.tell(messageOf(error))
        await this.pause()
      }
    }
  }

  /** @returns false if there was nothing to read. */
  private async step(): Promise<boolean> {
    const { mirror, partition } = this.options
    const start = mirror.logStartOffset(partition)
    if (start > this.position) {
      await passOver(this.options, this.position, start, 'retention')
      this.position = start
    }
    const { batches, nextOffset } = await mirror.fetch(partition, this.position, { maxBytes: FETCH_BYTES })
    if (nextOffset === this.position) return false
    const commits = new Set<Pick<Commit, 'durable'>>()
    for (const batch of batches)
      for (const record of decodeRecords(batch, this.position)) {
        const commit = await this.publish(record, commits)
        if (this.stopped) return false
        if (commit !== null) commits.add(commit)
      }
    // One after the other: each holds what has gathered while the one before was written.
    for (const commit of commits) await commit.durable()
    this.position = nextOffset
    return true
  }

  /** @returns what makes it durable; null if it was passed over, or the lane was stopped. */
  private async publish(
    record: LogRecord,
    before: Iterable<Pick<Commit, 'durable'>>,
  ): Promise<Pick<Commit, 'durable'> | null> {
    const { id, publish } = this.options
    const { offset } = record
    const by = { id: `republish/${id}`, epoch: Math.floor(offset / SEQUENCES), sequence: offset % SEQUENCES }
    while (!this.stopped) {
      try {
        return publish(this.messageOf(record), by).commit
      } catch (error) {
        if (!(error instanceof SluiceError) || error.code === 'SHUTTING_DOWN') throw error
        if (!PASSING.includes(error.code)) {
          await passOver(this.options, offset, (offset + 1) as Offset, 'rejected', messageOf(error))
          return null
        }
        for (const commit of before) await commit.durable()
        if (error.code !== 'TOO_MANY_REQUESTS') this.tell(messageOf(error))
        await this.pause()
      }
    }
    return null
  }

  private messageOf({ key, value, headers, attributes }: LogRecord): RepublishedMessage {
    const mqttTopic = this.options.template.split('{topic}').join((key ?? EMPTY).toString())
    return { mqttTopic, payload: value ?? EMPTY, qos: qosOf(attributes), retain: retainOf(attributes), headers }
  }

  private tell(problem: string): void {
    const { mirror, partition, logger } = this.options
    if (this.problem === problem) return
    this.problem = problem
    logger.warn('a mirror cannot be republished now', { stream: mirror.name, partition, reason: problem })
  }

  private pause(): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.options.clock.after(RETRY_MS, resolve)
      this.endPause = () => {
        cancel()
        resolve()
      }
    })
  }
}

/** Will never be republished: durable in the ledger when it resolves. */
export async function passOver(
  {
    mirror,
    partition,
    ledger,
    clock,
    logger,
  }: Pick<RepublishLaneOptions, 'partition' | 'ledger' | 'clock' | 'logger'> & {
    readonly mirror: Pick<MirrorStream, 'name'>
  },
  first: Offset,
  next: Offset,
  reason: LedgerReason,
  why: string = reason,
): Promise<void> {
  const range = { firstOffset: first, lastOffset: (next - 1) as Offset }
  const entry = { destination: DESTINATION, stream: mirror.name, partition, ...range }
  await ledger.add([{ ...entry, reason, atMs: clock.wallMs() }])
  logger.warn('records of a mirror cannot be given to subscribers here, see the ledger', {
    ...{ stream: mirror.name, partition, first_offset: first, last_offset: next - 1 },
    reason: why,
  })
}
