// What a kind of upstream must offer to the sender: make shipments of what was read from the log, and carry shipments over one
// connection at a time. Everything else (order, window, cursors, backoff, deadlines, budget) is the sender's, the same for every kind.
//
// A connection's life: `connect` gives a Link; then `onUp` at most once, then any number of `onAck` and `onRoom`, then `onDown` exactly
// once, after which the link is silent for ever. Nothing is called before `connect` has returned. Acks of one connection can
// therefore never be taken for those of another: a new connection is a new Link with new events.
// test/replication/target-contract.ts holds every implementation to this.

import type { SluiceError } from '../../base/errors.js'
import type { StreamReader } from '../../log/types.js'
import type { Offset, PartitionId } from '../../record/record.js'

/** What is sent and acknowledged as a whole: one record, some or an envelope of many to an MQTT broker, a frame of batches to a node. */
export interface Shipment {
  /** Offset of its first record. */
  readonly offset: Offset
  /** One past its last record. */
  readonly nextOffset: Offset
  readonly records: number
  /** What the window and rates of messages count. */
  readonly messages: number
  /** What the budget counts: topic and payload. */
  readonly bytes: number
  /** Of its oldest record, milliseconds since 1970-01-01 UTC. */
  readonly timestampMs: number
  /** Set when the destination can never take it, as a phrase: it is entered in the ledger instead of being sent. */
  readonly rejected?: string
  /** The destination has it already: it is passed over without being sent. */
  readonly known?: true
}

/** Where a shipment comes from. */
export interface Source {
  readonly stream: string
  readonly partition: PartitionId
}

/** A partition on its way to an upstream, as far as the sender knows. */
export interface OfferedLane extends Source {
  readonly reader: StreamReader
  /** The next offset that is not acknowledged. */
  readonly cursor: Offset
}

/** Where to go on with a partition; null: the destination does not want it. */
export interface LanePosition extends Source {
  readonly next: Offset | null
}

export interface LinkEvents {
  /** What there is to send. */
  lanes(): readonly OfferedLane[]
  /**
   * Where the destination says that partitions go on, whatever the cursors say. Only from a target that `tellsPositions`, and then nothing of
   * a partition may be sent before.
   */
  onPositions(positions: readonly LanePosition[]): void
  /** Shipments may be sent. */
  onUp(): void
  /** The destination has taken the shipment that was sent in this slot, and answers for it. The slot is free. */
  onAck(slot: number): void
  /** The destination has acknowledged something, if only a part of a shipment. Left out: it acknowledges shipments whole. */
  onProgress?(): void
  /** `hasRoom` has become true again. */
  onRoom(): void
  /**
   * The connection is over, whether it ever was up or not; nothing sent and not acknowledged can be counted on.
   * @param hungUp The far side has closed it.
   */
  onDown(reason: SluiceError, hungUp?: boolean): void
}

export interface Link<S extends Shipment> {
  /** False while bytes wait for the network beyond a fixed bound: send nothing until `onRoom`. */
  readonly hasRoom: boolean
  /**
   * Sends, or holds back until `flush`. Only between `onUp` and `onDown`.
   * @param slot From 0 up to the window less one; unique among those not yet acknowledged.
   */
  send(shipment: S, slot: number): void
  /** `lanes` has more to offer. Left out: lanes need not be announced. */
  lanesAdded?(): void
  /** Offsets of a partition up to `next`, exclusive, will not be sent: the ledger has them. Left out: nobody is told. */
  passed?(source: Source, next: Offset): void
  /** Lets everything sent so far go out. */
  flush(): void
  /** Says goodbye in the protocol's way, once what was sent has been written; `onDown` follows. */
  end(): void
  /** Breaks the connection at once; `onDown` follows with this reason. */
  reset(reason: SluiceError): void
}

/** Records that had better go together. */
export interface Gathering {
  /** So many, or more, wait for nothing. */
  readonly records: number
  /** How long fewer wait for more, from when they are first seen. */
  readonly lingerMs: number
}

export interface Target<S extends Shipment> {
  /** Where shipments go, for people; without a password. */
  readonly url: string
  /** Largest window that `slot` can express. */
  readonly maxSlots: number
  /** Most messages in one shipment. */
  readonly messagesAtOnce: number
  /** True if the destination keeps the positions itself: the cursors on disk are a hint then, and need not be saved often. */
  readonly tellsPositions: boolean
  /** True if all it can do about a record it dislikes is to close the connection, or to leave it without an acknowledgement. */
  readonly refusesBySilence: boolean
  /** Left out: what there is goes at once. */
  readonly gathering?: Gathering | undefined
  /** Batches that `pack` takes at once, if there are so many. */
  readonly packBatches: number
  /**
   * Makes shipments of consecutive stored batches, in order; records below `from` are left out. May keep views into the batches.
   * @param singlyBelow Records below this offset get a shipment each, where several could share one.
   * @param until Records at or beyond it are left out.
   * @throws SluiceError CORRUPT_MESSAGE
   */
  pack(
    source: Source,
    batches: readonly Buffer[],
    from: Offset,
    singlyBelow?: Offset,
    until?: Offset,
  ): S[] | Promise<S[]>
  /** Begins a connection. */
  connect(events: LinkEvents): Link<S>
}
