// What a loop has finished and nobody has committed yet: per partition the next offset. Used by Consumer alone.

import type { ConsumerRecord } from './consumer-record.js'
import type { OffsetToCommit } from './group-session.js'

export class FinishedOffsets {
  private readonly offsets = new Map<string, OffsetToCommit>()
  /** Kept as it is while records of its partition follow each other: a million of them make one entry. */
  private latest: ConsumerRecord | null = null

  add(record: ConsumerRecord): void {
    const { latest } = this
    if (latest !== null && (latest.partition !== record.partition || latest.stream !== record.stream))
      this.enter(latest)
    this.latest = record
  }

  /** Hands all of it over; what then cannot be committed is given back. */
  take(): OffsetToCommit[] {
    if (this.latest !== null) this.enter(this.latest)
    const taken = [...this.offsets.values()]
    this.clear()
    return taken
  }

  /** Where the loop has got further meanwhile, that stands. */
  giveBack(offsets: readonly OffsetToCommit[]): void {
    if (this.latest !== null) this.enter(this.latest)
    this.latest = null
    for (const offset of offsets) if (!this.offsets.has(keyOf(offset))) this.offsets.set(keyOf(offset), offset)
  }

  clear(): void {
    this.offsets.clear()
    this.latest = null
  }

  private enter({ stream, partition, offset }: ConsumerRecord): void {
    this.offsets.set(keyOf({ stream, partition }), { stream, partition, offset: offset + 1 })
  }
}

function keyOf({ stream, partition }: { readonly stream: string; readonly partition: number }): string {
  return `${stream}/${partition}`
}
