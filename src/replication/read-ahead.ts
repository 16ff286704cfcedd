// Reads one partition ahead of the sender: stored batches fetched in the background, made shipments of when they are needed,
// as many batches at a time as the target likes. Holds at most what one fetch gave, plus what was packed last; the next fetch starts when
// the last batch is taken on.

import type { StreamReader } from '../log/types.js'
import type { Offset, PartitionId } from '../record/record.js'
import type { Shipment } from './targets/target.js'

export interface ReadAheadOptions<S> {
  readonly stream: StreamReader
  readonly partition: PartitionId
  /** Stored bytes per fetch; a batch that is larger alone comes all the same. */
  readonly fetchBytes: number
  /** Batches that `pack` takes at once. */
  readonly packBatches: number
  /** Nothing at or beyond this offset is read. */
  readonly until?: () => number
  readonly pack: (batches: readonly Buffer[], from: Offset) => S[] | Promise<S[]>
  /** Whether so few records had better wait for more; then `read` is called again when that may have changed. */
  readonly mayGather: (records: number) => boolean
  /** There may be something to take now, or the log start has passed the position. */
  readonly onReady: () => void
  /** Reading or cutting failed; nothing more happens until `read` or `restart`. */
  readonly onProblem: (error: unknown) => void
}

export class ReadAhead<S extends Shipment> {
  private batches: Buffer[] = []
  private shipments: readonly S[] = []
  private index = 0
  private fetchFrom: Offset
  private fetching = false
  private packing = false
  /** Raised by restart: a fetch begun before is void. */
  private round = 0

  /** @param position Where to begin. */
  constructor(
    private readonly options: ReadAheadOptions<S>,
    public position: Offset,
  ) {
    this.fetchFrom = position
  }

  /** There is nothing to take now, and will be: it is being fetched or packed. `onReady` follows, or `onProblem`. */
  get preparing(): boolean {
    return this.index === this.shipments.length && (this.fetching || this.packing)
  }

  /** The next shipment, or undefined while there is none (more may be on its way: see onReady). */
  peek(): S | undefined {
    while (this.index === this.shipments.length) {
      if (this.packing) return undefined
      const batches = this.batches.splice(0, this.options.packBatches)
      if (this.batches.length === 0) this.read()
      if (batches.length === 0) return undefined
      try {
        const packed = this.options.pack(batches, this.position)
        if (packed instanceof Promise) void this.whenPacked(packed, this.round)
        else this.show(packed)
      } catch (error) {
        this.failed(error)
        return undefined
      }
    }
    return this.shipments[this.index]
  }

  /**
   * Where the next record is, as far as is known: beyond `position` if the log has a gap there, which is in the ledger. Call after
   * `peek`.
   */
  get nextKnown(): Offset {
    const next =
      this.shipments[this.index]?.offset ??
      (this.batches.length === 0 && !this.packing ? this.fetchFrom : this.position)
    // What lies behind the bound is no gap.
    return Math.max(this.position, Math.min(next, this.until)) as Offset
  }

  /** Moves over a gap, up to `nextKnown`. */
  passGap(): void {
    this.position = this.nextKnown
  }

  /** Takes what `peek` has shown. */
  take(shipment: S): void {
    this.index += 1
    this.position = shipment.nextOffset
    if (this.index < this.shipments.length) return
    // Lets go of the batch, which every shipment has a view into.
    this.shipments = []
    this.index = 0
    this.packAhead()
  }

  /** Starts a fetch if there is something to fetch and nothing left to take on. Cheap: call it whenever the stream has changed. */
  read(): void {
    const { stream, partition } = this.options
    if (this.fetching || this.batches.length > 0 || this.fetchFrom >= this.until) return
    if (this.fetchFrom >= stream.highWatermark(partition) && this.fetchFrom >= stream.logStartOffset(partition)) return
    const records = Math.min(stream.highWatermark(partition), this.until) - this.fetchFrom
    if (records > 0 && this.options.mayGather(records)) return
    void this.fetch(this.round)
  }

  /** Drops what was read and goes on from `from`; nothing is read before `read` is called. */
  restart(from: Offset): void {
    this.round += 1
    this.batches = []
    this.shipments = []
    this.index = 0
    this.position = from
    this.fetchFrom = from
    this.fetching = false
    this.packing = false
  }

  private get until(): number {
    return this.options.until?.() ?? Number.POSITIVE_INFINITY
  }

  /** What takes its time to pack shall be ready when it is this partition's turn. */
  private packAhead(): void {
    if (this.options.packBatches > 1 && this.batches.length > 0) this.peek()
  }

  private async whenPacked(packed: Promise<S[]>, round: number): Promise<void> {
    this.packing = true
    try {
      const shipments = await packed
      if (round !== this.round) return
      this.packing = false
      this.show(shipments)
      this.options.onReady()
    } catch (error) {
      if (round === this.round) this.failed(error)
    }
  }

  private show(shipments: readonly S[]): void {
    this.shipments = shipments
    this.index = 0
  }

  private failed(error: unknown): void {
    this.restart(this.position)
    this.options.onProblem(error)
  }

  private async fetch(round: number): Promise<void> {
    const { stream, partition, fetchBytes, onReady, onProblem } = this.options
    this.fetching = true
    try {
      const fetched = await stream.fetch(partition, this.fetchFrom, { maxBytes: fetchBytes })
      if (round !== this.round) return
      this.fetching = false
      if (fetched.nextOffset === this.fetchFrom) return
      this.batches.push(...fetched.batches)
      this.fetchFrom = fetched.nextOffset
      this.packAhead()
    } catch (error) {
      if (round !== this.round) return
      this.fetching = false
      if (this.position >= stream.logStartOffset(partition)) return onProblem(error)
    }
    onReady()
  }
}
