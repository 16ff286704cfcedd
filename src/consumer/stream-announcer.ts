// Says on a local MQTT topic how far each stream has come, so that a program that pulls need not poll: a hint, told at QoS 0 and stored
// nowhere. At most one per stream and interval, always with the newest offsets; none while nothing comes.
//
//   $SYS/sluice/streams/NAME/end    {"stream":"NAME","partitions":[{"partition":0,"high_watermark":123}]}

import type { Clock } from '../base/clock.js'
import type { Stream, StreamCatalog } from '../log/types.js'
import { toPartitionId } from '../record/record.js'

/** A stream is announced at most this often. */
export const ANNOUNCE_EVERY_MS = 100

export interface AnnouncerDependencies {
  readonly streams: Pick<StreamCatalog, 'streams'>
  readonly clock: Clock
  /** At QoS 0, to whoever is subscribed now, without keeping it. */
  readonly tell: (mqttTopic: string, payload: Buffer) => void
}

function announcementTopic(stream: string): string {
  return `$SYS/sluice/streams/${stream}/end`
}

export class StreamAnnouncer {
  private readonly ends: (() => void)[] = []

  constructor(private readonly dependencies: AnnouncerDependencies) {
    for (const stream of dependencies.streams.streams.values()) this.ends.push(this.watch(stream))
  }

  stop(): void {
    for (const end of this.ends.splice(0)) end()
  }

  private watch(stream: Stream): () => void {
    const { clock } = this.dependencies
    let cancel: (() => void) | null = null
    let announced = endsOf(stream).join()
    let isStale = false
    const announce = (): void => {
      isStale = false
      cancel = clock.after(ANNOUNCE_EVERY_MS, () => {
        cancel = null
        if (isStale) announce()
      })
      // Retention wakes too, and moves no end.
      const ends = endsOf(stream)
      if (ends.join() === announced) return
      announced = ends.join()
      this.tell(stream.name, ends)
    }
    const endListening = stream.onChange(() => {
      isStale = true
      if (cancel === null) announce()
    })
    return () => {
      endListening()
      cancel?.()
    }
  }

  private tell(stream: string, ends: readonly number[]): void {
    const partitions = ends.map((end, partition) => ({ partition, high_watermark: end }))
    this.dependencies.tell(announcementTopic(stream), Buffer.from(JSON.stringify({ stream, partitions })))
  }
}

function endsOf(stream: Stream): number[] {
  return Array.from({ length: stream.partitions }, (_, partition) => stream.highWatermark(toPartitionId(partition)))
}
