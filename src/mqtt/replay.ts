// What one SUBSCRIBE to `$stream/…` (replay-filter.ts) delivers: the records of a stream from a place on, and then what comes, each under its own
// MQTT topic, as fast as the connection takes them. Reads one stretch at a time, whatever the number of partitions, and only when the one
// before has been handed on: a slow reader costs no memory. Lives as long as the connection and its subscription. Used by SubscriptionRequests.

import { SluiceError } from '../base/errors.js'
import { type LogRecord, type Offset, type Qos, qosOf } from '../record/record.js'
import { decodeRecords } from '../record/record-batch.js'
import type { SessionPump } from './session-pump.js'
import type { StoredPartition } from './stored-partition.js'

const READ_BYTES = 64 * 1024

export interface ReplayPosition {
  readonly partition: StoredPartition
  /** The next offset to look at. */
  next: number
}

export interface ReplayOptions {
  /** Of one stream. */
  readonly positions: readonly ReplayPosition[]
  /** Granted. */
  readonly qos: Qos
  readonly pump: SessionPump
  readonly mayReceive: (mqttTopic: string) => boolean
  readonly onEnd: () => void
}

export class Replay {
  private ended = false
  private wake = (): void => {}

  constructor(private readonly options: ReplayOptions) {}

  /** Delivers until `end`; call it once, when SUBACK has been written. */
  async run(): Promise<void> {
    const { positions, pump } = this.options
    const { stream } = positions[0].partition
    let changes = 0
    const unsubscribe = stream.onChange(() => {
      changes += 1
      this.wake()
    })
    try {
      while (!this.ended) {
        const seen = changes
        let moved = false
        for (const position of positions) moved = (await this.deliverSome(position)) || moved
        if (!moved && seen === changes && !this.ended)
          await new Promise<void>((resolve) => {
            this.wake = resolve
          })
      }
    } catch (error) {
      if (!this.ended) pump.failed(error)
    } finally {
      unsubscribe()
      this.end()
    }
  }

  end(): void {
    if (this.ended) return
    this.ended = true
    this.wake()
    this.options.onEnd()
  }

  /** @returns false if there was nothing to deliver. */
  private async deliverSome(position: ReplayPosition): Promise<boolean> {
    const { partition, next } = position
    if (this.ended || next >= partition.highWatermark) return false
    const { batches, nextOffset } = await this.read(position)
    for (const batch of batches)
      for (const record of decodeRecords(batch, next as Offset)) {
        if (!(await this.deliver(partition, record))) return false
        position.next = record.offset + 1
      }
    position.next = Math.max(position.next, nextOffset)
    return position.next > next
  }

  private async read(position: ReplayPosition): Promise<{ batches: readonly Buffer[]; nextOffset: number }> {
    const { partition, next } = position
    const { stream } = partition
    try {
      return await stream.fetch(partition.partition, next as Offset, { maxBytes: READ_BYTES })
    } catch (error) {
      if (!(error instanceof SluiceError) || error.code !== 'OFFSET_OUT_OF_RANGE') throw error
      const start = stream.logStartOffset(partition.partition)
      if (next < start) this.options.pump.overtaken(partition, next, start)
      return { batches: [], nextOffset: Math.max(start, Math.min(next, partition.highWatermark)) }
    }
  }

  /** @returns false once nobody wants any more. */
  private async deliver(partition: StoredPartition, record: LogRecord): Promise<boolean> {
    const { pump, mayReceive } = this.options
    const qos = Math.min(this.options.qos, qosOf(record.attributes)) as Qos
    if (record.key === null || !mayReceive(record.key.toString())) return !this.ended
    do {
      if (!(await pump.whenRoom()) || this.ended) return false
    } while (!pump.sendStored(partition, record, qos))
    return true
  }
}
