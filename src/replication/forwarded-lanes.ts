// The lanes of one upstream, by stream, and what wakes them: a change of a stream reaches its own lanes and no others. Used by the sender, who sends.

import type { StreamReader } from '../log/types.js'
import type { AckLine } from './ack-line.js'
import type { Lane } from './lane.js'
import type { RateMeter } from './rate-meter.js'
import type { LanePosition, OfferedLane, Shipment } from './targets/target.js'

/** Partitions one upstream forwards, inclusive. */
export const MAX_LANES = 4096

interface Followed<S extends Shipment> {
  readonly lanes: Lane<S>[]
  stop: (() => void) | null
}

export class ForwardedLanes<S extends Shipment> {
  readonly all: Lane<S>[] = []
  /** One of each partition. */
  readonly leading: Lane<S>[] = []
  private readonly streams = new Map<StreamReader, Followed<S>>()
  private readonly byLine = new Map<AckLine, Lane<S>>()

  /** @param arrived Hears of every record that becomes durable in a stream that is followed. */
  constructor(private readonly arrived: RateMeter) {}

  of(stream: StreamReader): readonly Lane<S>[] {
    return this.streams.get(stream)?.lanes ?? []
  }

  at({ stream, partition }: LanePosition): Lane<S> | undefined {
    for (const [reader, { lanes }] of this.streams)
      if (reader.name === stream) return lanes.find((lane) => lane.partition === partition)
    return undefined
  }

  /** Undefined for one that was removed. */
  withLine(line: AckLine): Lane<S> | undefined {
    return this.byLine.get(line)
  }

  offered(): OfferedLane[] {
    return this.all.map(({ stream: reader, partition, cursor }) => ({ stream: reader.name, partition, reader, cursor }))
  }

  add(stream: StreamReader, lanes: readonly Lane<S>[]): void {
    if (lanes.length === 0) return
    const known = this.streams.get(stream)
    if (known === undefined) this.streams.set(stream, { lanes: [...lanes], stop: null })
    else known.lanes.push(...lanes)
    for (const lane of lanes) {
      this.all.push(lane)
      if (lane.leads) this.leading.push(lane)
      this.byLine.set(lane.acks, lane)
    }
  }

  /** Wakes the lanes of a stream whenever it changes, those added later as well. */
  follow(stream: StreamReader): void {
    const followed = this.streams.get(stream)
    if (followed === undefined || followed.stop !== null) return
    const watermarks = new Map<Lane<S>, number>()
    const changed = (): void => {
      for (const lane of followed.lanes) {
        const { highWatermark } = lane
        if (lane.leads) this.arrived.add(highWatermark - (watermarks.get(lane) ?? highWatermark))
        watermarks.set(lane, highWatermark)
        lane.wake()
      }
    }
    changed()
    followed.stop = stream.onChange(changed)
  }

  followAll(): void {
    for (const stream of this.streams.keys()) this.follow(stream)
  }

  /** @returns the lanes it had; they are closed. */
  remove(stream: StreamReader): readonly Lane<S>[] {
    const { lanes = [], stop } = this.streams.get(stream) ?? {}
    stop?.()
    this.streams.delete(stream)
    for (const lane of lanes) {
      lane.close()
      this.all.splice(this.all.indexOf(lane), 1)
      if (lane.leads) this.leading.splice(this.leading.indexOf(lane), 1)
      this.byLine.delete(lane.acks)
    }
    return lanes
  }

  close(): void {
    for (const followed of this.streams.values()) {
      followed.stop?.()
      followed.stop = null
    }
    for (const lane of this.all) lane.close()
  }
}
