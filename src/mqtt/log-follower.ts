// Follows the log for one receiver of stored messages, a session or a shared group, partition by partition from positions of its own: one that
// has caught up is fed by StoredPartition together with all others, one that has not reads for itself until it has.
//
// Invariant: per partition, records are offered to the receiver in order, each until it is taken.

import { SluiceError } from '../base/errors.js'
import type { LogRecord, Offset } from '../record/record.js'
import { decodeRecords } from '../record/record-batch.js'
import type { PartitionName } from './session.js'
import type { StoredPartition } from './stored-partition.js'

export interface Receiver {
  /** The next offset to look at, per partition that may hold something for it. */
  readonly positions: Map<PartitionName, number>
  /** False: reading on would be in vain. */
  readonly hasRoom: boolean
  /** @returns false if there is no room for a message that it is to get; it is offered again after `run`. */
  take(partition: StoredPartition, mqttTopic: string, record: LogRecord): boolean
  /** Segments without such topics need not be read. */
  wants(mqttTopic: string): boolean
  /** A position has changed. */
  moved(): void
  /** Retention was faster: records [from, to) are not there any more. */
  overtaken(partition: StoredPartition, from: number, to: number): void
  /** Stored messages could not be read. */
  failed(error: unknown): void
}

const READ_BYTES = 64 * 1024

export class LogFollower {
  private running = false
  private again = false
  private ended = false
  /** Read and not yet taken, of one partition. */
  private buffered: { partition: StoredPartition; records: LogRecord[]; next: number } | null = null

  /** @param partition By name; undefined for one that is not there any more. */
  constructor(
    private readonly receiver: Receiver,
    private readonly partition: (name: PartitionName) => StoredPartition | undefined,
  ) {}

  /** Goes on wherever something can be taken. Call after whatever makes room or work. */
  run(): void {
    if (this.running || this.ended) {
      this.again = true
      return
    }
    this.running = true
    void this.work()
  }

  /** Everything committed so far has been taken. */
  get hasCaughtUp(): boolean {
    for (const name of this.receiver.positions.keys()) {
      const partition = this.partition(name)
      if (partition !== undefined && !(partition.isLive(this) && partition.tail >= partition.highWatermark))
        return false
    }
    return true
  }

  end(): void {
    this.ended = true
    this.buffered = null
    this.pause()
  }

  /** Is fed no more until `run` is called. */
  pause(): void {
    for (const name of this.receiver.positions.keys()) {
      const partition = this.partition(name)
      if (partition?.leave(this)) this.moveTo(partition, partition.tail)
    }
  }

  /** How far a partition has been looked at; undefined for one that is not there any more. */
  positionNamed(name: PartitionName): number | undefined {
    const partition = this.partition(name)
    return partition === undefined ? undefined : this.positionOf(partition)
  }

  /** Nothing in this partition is wanted any more. */
  leave(name: PartitionName): void {
    this.partition(name)?.leave(this)
    this.receiver.positions.delete(name)
    this.receiver.moved()
  }

  /** A live partition offers what has just been committed. */
  offer(partition: StoredPartition, mqttTopic: string, record: LogRecord): boolean {
    return this.receiver.take(partition, mqttTopic, record)
  }

  /** The record at `offset` of a live partition was not taken: we go on from there ourselves. */
  fallBehind(partition: StoredPartition, offset: number): void {
    this.moveTo(partition, offset)
    this.run()
  }

  private positionOf(partition: StoredPartition): number {
    return partition.isLive(this)
      ? partition.tail
      : (this.receiver.positions.get(partition.name) ?? partition.highWatermark)
  }

  private async work(): Promise<void> {
    try {
      do {
        this.again = false
        for (const name of this.receiver.positions.keys()) {
          const partition = this.partition(name)
          if (partition === undefined || partition.isLive(this)) continue
          while (!this.ended && this.receiver.hasRoom && !(await this.catchUp(partition))) {}
        }
      } while (this.again && !this.ended)
    } catch (error) {
      this.receiver.failed(error)
    } finally {
      this.running = false
    }
  }

  /** Offers a stretch of what is stored. @returns true when there is no more to do for this partition now. */
  private async catchUp(partition: StoredPartition): Promise<boolean> {
    if (partition.isLive(this)) return true
    const position = this.positionOf(partition)
    if (partition.join(this, position)) {
      partition.advance()
      return true
    }
    const { buffered } = this
    if (buffered === null || buffered.partition !== partition || buffered.records[buffered.next]?.offset !== position) {
      return !(await this.fill(partition, position))
    }
    while (buffered.next < buffered.records.length) {
      const record = buffered.records[buffered.next]
      if (partition.hasLive && record.offset >= partition.tail) break
      if (record.key !== null && !this.receiver.take(partition, record.key.toString(), record)) return true
      buffered.next += 1
      this.moveTo(partition, record.offset + 1)
    }
    if (buffered.next === buffered.records.length) this.buffered = null
    return false
  }

  /** Reads on from `position`. @returns false if there is nothing to go on with. */
  private async fill(partition: StoredPartition, position: number): Promise<boolean> {
    this.buffered = null
    try {
      const { batches, nextOffset } = await partition.stream.fetch(partition.partition, position as Offset, {
        maxBytes: READ_BYTES,
        wantsTopic: (mqttTopic) => this.receiver.wants(mqttTopic),
      })
      const records = batches.flatMap((batch) => decodeRecords(batch, position as Offset))
      if (this.ended) return false
      // Offsets may jump over what was lost and entered in the ledger, and over segments without wanted topics.
      this.moveTo(partition, records.length > 0 ? records[0].offset : nextOffset)
      if (records.length > 0) this.buffered = { partition, records, next: 0 }
      return records.length > 0 || nextOffset > position
    } catch (error) {
      if (!(error instanceof SluiceError) || error.code !== 'OFFSET_OUT_OF_RANGE') throw error
      const start = partition.stream.logStartOffset(partition.partition)
      if (position < start) this.receiver.overtaken(partition, position, start)
      this.moveTo(partition, Math.max(start, Math.min(position, partition.highWatermark)))
      return true
    }
  }

  private moveTo(partition: StoredPartition, offset: number): void {
    const { positions } = this.receiver
    if (!positions.has(partition.name)) return
    positions.set(partition.name, offset)
    this.receiver.moved()
  }
}
