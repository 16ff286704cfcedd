// The end of one partition, read once for all sessions that have caught up with it: what is committed is read back, matched, and handed to
// the pumps of the sessions subscribed above QoS 0. A pump that cannot take a message leaves and reads for itself until it has caught up.
//
// Invariant: every live pump has been offered all records below `tail` and none above.

import type { Stream } from '../log/types.js'
import { type LogRecord, type Offset, type PartitionId, qosOf } from '../record/record.js'
import { decodeRecords } from '../record/record-batch.js'
import type { FanOut } from './fan-out.js'
import type { LogFollower } from './log-follower.js'
import type { Router } from './router.js'
import { type PartitionName, partitionName } from './session.js'

const READ_BYTES = 256 * 1024

/** Over all partitions. */
export interface Activity {
  livePumps: number
}

export class StoredPartition {
  readonly name: PartitionName
  /** Where the live pumps are. */
  tail = 0
  /** Pumps that have been sent everything below `tail`. */
  private readonly live = new Set<LogFollower>()
  /** [quietFrom, quietTo): appended by the publish path and wanted by nobody who was connected then, so that it need not be read. */
  private quietFrom = 0
  private quietTo = 0
  private reading = false

  constructor(
    readonly stream: Stream,
    readonly partition: PartitionId,
    private readonly router: Router,
    private readonly fanOut: FanOut,
    private readonly activity: Activity,
    private readonly onReadError: (error: unknown) => void,
  ) {
    this.name = partitionName(stream.name, partition)
  }

  get highWatermark(): number {
    return this.stream.highWatermark(this.partition)
  }

  /** The publish path is about to append a record at `offset`; `wanted`: somebody gets it from here. */
  note(offset: number, wanted: boolean): void {
    if (wanted) {
      if (offset < this.quietTo) this.quietTo = Math.max(this.quietFrom, offset)
    } else if (offset === this.quietTo) this.quietTo = offset + 1
    else {
      this.quietFrom = offset
      this.quietTo = offset + 1
    }
  }

  /** Makes the pump live if `position`, the next offset it needs, is where the others are. */
  join(follower: LogFollower, position: number): boolean {
    if (this.live.size === 0) {
      if (position < this.highWatermark) return false
      this.tail = position
    } else if (position < this.tail) return false
    // What nobody wanted when it was appended, this one may want: it came while the session was away, and is not committed or not read yet.
    this.quietFrom = this.quietTo
    this.live.add(follower)
    this.activity.livePumps += 1
    return true
  }

  /** @returns false if the pump was not live. Its next offset is `tail` otherwise. */
  leave(follower: LogFollower): boolean {
    if (!this.live.delete(follower)) return false
    this.activity.livePumps -= 1
    return true
  }

  isLive(follower: LogFollower): boolean {
    return this.live.has(follower)
  }

  get hasLive(): boolean {
    return this.live.size > 0
  }

  /** Something may have been committed. */
  advance(): void {
    if (this.live.size > 0 && !this.reading && this.tail < this.highWatermark) void this.read()
  }

  private async read(): Promise<void> {
    this.reading = true
    try {
      while (this.live.size > 0 && this.tail < this.highWatermark) {
        if (this.tail >= this.quietFrom && this.tail < this.quietTo) {
          this.tail = Math.min(this.quietTo, this.highWatermark)
          continue
        }
        const from = this.tail as Offset
        const { batches, nextOffset } = await this.stream.fetch(this.partition, from, { maxBytes: READ_BYTES })
        // While we were reading, all may have left and a later one have joined, further on.
        if (this.tail !== from) continue
        for (const batch of batches) {
          for (const record of decodeRecords(batch, from)) {
            // First: a pump that falls behind here goes on from this record, not after it.
            this.tail = record.offset + 1
            this.dispatch(record)
          }
        }
        if (nextOffset === from) break
        this.tail = nextOffset
      }
    } catch (error) {
      // Each reads for itself then, and finds out what it has missed.
      for (const follower of [...this.live]) {
        this.leave(follower)
        follower.fallBehind(this, this.tail)
      }
      this.onReadError(error)
    } finally {
      this.reading = false
    }
  }

  private dispatch(record: LogRecord): void {
    if (record.key === null || qosOf(record.attributes) === 0) return
    const entry = this.router.resolve(record.key, 0, record.key.length)
    if ('problem' in entry) return
    for (const { follower } of this.fanOut.matchesOf(entry).stored) {
      if (follower === null || !this.live.has(follower)) continue
      if (follower.offer(this, entry.mqttTopic, record)) continue
      this.leave(follower)
      follower.fallBehind(this, record.offset)
    }
  }
}
