// All partitions that MQTT sessions are fed from: those of the routed streams and of `unrouted`.

import { filtersOverlap } from '../base/filters-overlap.js'
import type { Stream } from '../log/types.js'
import type { Offset, PartitionId } from '../record/record.js'
import type { FanOut } from './fan-out.js'
import type { Router } from './router.js'
import type { PartitionName } from './session.js'
import { type Activity, StoredPartition } from './stored-partition.js'

export class StoredDelivery {
  private readonly byStream: StoredPartition[][] = []
  private readonly byName = new Map<PartitionName, StoredPartition>()
  private readonly unsubscribes: (() => void)[] = []
  private readonly activity: Activity = { livePumps: 0 }

  /** @param router Its streams, in its order. */
  constructor(router: Router, fanOut: FanOut, onReadError: (error: unknown) => void) {
    for (const stream of router.streams) {
      const partitions = Array.from(
        { length: stream.partitions },
        (_, partition) =>
          new StoredPartition(stream, partition as PartitionId, router, fanOut, this.activity, onReadError),
      )
      this.byStream.push(partitions)
      for (const partition of partitions) this.byName.set(partition.name, partition)
      this.unsubscribes.push(
        stream.onChange(() => {
          for (const partition of partitions) partition.advance()
        }),
      )
    }
  }

  /** Whether anybody may be waiting for stored messages: if not, the publish path need not call `note`. */
  get isActive(): boolean {
    return this.activity.livePumps > 0
  }

  /** The publish path is about to append; see StoredPartition.note. */
  note(streamIndex: number, partition: PartitionId, offset: Offset, wanted: boolean): void {
    this.byStream[streamIndex][partition].note(offset, wanted)
  }

  partition(name: PartitionName): StoredPartition | undefined {
    return this.byName.get(name)
  }

  /** The partitions that may hold messages which a filter matches. */
  partitionsFor(filter: string): readonly StoredPartition[] {
    return this.byStream.filter(([first]) => mayHold(first.stream, filter)).flat()
  }

  /** The same by name, each with the offset that what is stored next gets. */
  endsFor(filter: string): readonly (readonly [PartitionName, number])[] {
    return this.partitionsFor(filter).map(
      ({ name, stream, partition }) => [name, stream.nextOffset(partition)] as const,
    )
  }

  /** Which streams there are, what goes there and in how many partitions: changes with the configuration. */
  get layout(): string {
    return JSON.stringify(
      this.byStream.map((partitions) => [partitions[0].stream.topics, partitions.map(({ name }) => name)]),
    )
  }

  stop(): void {
    for (const unsubscribe of this.unsubscribes) unsubscribe()
  }
}

/** `unrouted` names no filters: it takes what is left. */
function mayHold(stream: Stream, filter: string): boolean {
  return stream.topics.length === 0 || stream.topics.some((topics) => filtersOverlap(topics, filter))
}
