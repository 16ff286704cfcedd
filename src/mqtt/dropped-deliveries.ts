// Which stored records a subscriber at QoS 0 was not given because it read too slowly: one range per partition, however many subscribers and
// messages, handed on now and then for the ledger. Records that no stream took have no place to be named by; those are only counted.

import type { Offset } from '../record/record.js'
import type { PartitionName } from './session.js'

export interface DroppedRange {
  readonly stream: string
  readonly partition: number
  /** Both inclusive. */
  first: Offset
  last: Offset
  /** In the range, dropped for at least one subscriber. */
  records: number
}

export class DroppedDeliveries {
  private readonly ranges = new Map<PartitionName, DroppedRange>()
  private latest: DroppedRange | null = null

  /** Offsets of one partition come in order. */
  note(stream: string, partition: number, offset: Offset): void {
    if (this.latest?.stream !== stream || this.latest.partition !== partition) {
      const name = `${stream}/${partition}`
      this.latest = this.ranges.get(name) ?? { stream, partition, first: offset, last: offset, records: 0 }
      this.ranges.set(name, this.latest)
    }
    this.latest.last = offset
    this.latest.records += 1
  }

  /** Hands over what was noted since the last time. */
  take(): readonly DroppedRange[] {
    const taken = [...this.ranges.values()]
    this.ranges.clear()
    this.latest = null
    return taken
  }
}
