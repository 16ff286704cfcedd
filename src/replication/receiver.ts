// Takes what other nodes forward to this one, over the connections that the MQTT front hands on (node-protocol.ts has the messages). One
// Receiver per node, one Reception per connection.
//
//   new ──hello──▶ admitted ──open──▶ lanes ──frame──▶ appended ──durable──▶ ack            any violation ──refused──▶ closed
//
// A frame is taken by what the mirror has, the end of its log, and nothing else:
//   begins there      appended; acknowledged once durable
//   lies below        had already: acknowledged again. Under a lower epoch than the frame's it is not the same: the mirror gets a new incarnation
//   begins beyond     what lies between is in the ledger (told in the frame, and entered here first), or the sender hears what lacks
//   reaches across    the sender hears where to cut; only it decodes

import type { Clock } from '../base/clock.js'
import { messageOf, SluiceError } from '../base/errors.js'
import type { Logger } from '../base/logger.js'
import type { MirrorStream } from '../log/mirror-stream.js'
import type { Mirrors } from '../log/mirrors.js'
import type { Commit } from '../log/types.js'
import { hasZstd } from '../record/compression.js'
import type { Offset, PartitionId } from '../record/record.js'
import { baseOffsetOf, lastOffsetOf, leaderEpochOf, recordBatchProblem } from '../record/record-batch.js'
import type { Ledger, LedgerReason } from '../state/ledger.js'
import {
  type DownMessage,
  decodeUp,
  encodeDown,
  type Frame,
  type Groups,
  type Hello,
  type LaneAck,
  type LanePosition,
  MAX_LANES,
  type Open,
  PROTOCOL_VERSION,
} from './node-protocol.js'
import type { Origins } from './origins.js'
import { recordTip } from './record-tip.js'

export interface ReceiverOptions {
  readonly nodeId: string
  readonly mirrors: Mirrors
  readonly origins: Origins
  readonly ledger: Pick<Ledger, 'add' | 'list'>
  /** Takes over the committed offset of a group. Durable when it resolves. */
  readonly commitGroup: (
    group: string,
    stream: string,
    partition: number,
    offset: Offset,
    metadata: string,
  ) => Promise<void>
  /** Largest packet with a frame, inclusive. */
  readonly maxFrameBytes: number
  readonly clock: Clock
  readonly logger: Logger
}

/** The far side of a connection. */
export interface ReceptionPeer {
  send(payload: Buffer): void
  /** Ends the connection once what was sent has left. */
  close(reason: string): void
}

interface ReceivingLane {
  mirror: MirrorStream
  readonly partition: PartitionId
  /** It lacks something: what comes is not looked at until it is opened anew. */
  stuck: boolean
}

const LEDGER_REASONS: ReadonlySet<string> = new Set<LedgerReason>([
  ...(['retention', 'disk_full', 'corruption', 'rejected', 'qos0_dropped', 'several'] as const),
])

export class Receiver {
  /** Names of mirrors that turned out to be of something else: the next `open` begins a new incarnation. */
  readonly diverged = new Set<string>()

  constructor(readonly options: ReceiverOptions) {}

  get maxFrameBytes(): number {
    return this.options.maxFrameBytes
  }

  /** A connection on which something for other nodes was published. */
  open(peer: ReceptionPeer): Reception {
    return new Reception(peer, this)
  }
}

export class Reception {
  private nodeId: string | null = null
  private closed = false
  private readonly lanes = new Map<number, ReceivingLane>()
  /** By commit: the positions it makes durable, by lane. */
  private readonly waitingFor = new WeakMap<Commit, Map<number, LaneAck>>()
  private readonly options: ReceiverOptions

  constructor(
    private readonly peer: ReceptionPeer,
    private readonly receiver: Receiver,
  ) {
    this.options = receiver.options
  }

  /**
   * Takes one message. Messages must come one after the other: the next only once this has resolved, which also holds the sender back.
   * @returns null when it is done with it at once. Never rejects.
   */
  receive(payload: Buffer): Promise<void> | null {
    if (this.closed) return null
    try {
      const message = decodeUp(payload)
      if (message.type === 'hello') return this.guard(this.hello(message))
      if (this.nodeId === null) throw new SluiceError('INVALID_REQUEST', 'the first message is not hello')
      if (message.type === 'open') return this.guard(this.openLanes(message, this.nodeId))
      if (message.type === 'groups') return this.guard(this.groups(message))
      const done = this.frame(message)
      return done === null ? null : this.guard(done)
    } catch (error) {
      this.refuse(error)
      return null
    }
  }

  /** The connection is gone. */
  end(): void {
    this.closed = true
    if (this.nodeId !== null) this.options.origins.connected(this.nodeId, -1)
    this.nodeId = null
  }

  private async hello(hello: Hello): Promise<void> {
    const { nodeId, origins, maxFrameBytes, logger } = this.options
    if (this.nodeId !== null) throw new SluiceError('INVALID_REQUEST', 'a second hello')
    if (hello.version !== PROTOCOL_VERSION) {
      const message = `this node speaks version ${PROTOCOL_VERSION} of the protocol between nodes, not ${hello.version}`
      throw new SluiceError('INVALID_REQUEST', message)
    }
    if (hello.nodeId === nodeId)
      throw new SluiceError('INVALID_REQUEST', `a node with the id of this one, ${nodeId}, would forward to it`)
    await origins.admit(hello)
    if (this.closed) return
    this.nodeId = hello.nodeId
    origins.connected(hello.nodeId, 1)
    logger.info('a node forwards to this one', { origin: hello.nodeId })
    this.tell({ type: 'welcome', version: PROTOCOL_VERSION, nodeId, maxFrameBytes, readsZstd: hasZstd })
  }

  private async openLanes(open: Open, via: string): Promise<void> {
    if (open.lane + open.partitions.length > MAX_LANES)
      throw new SluiceError('TOO_MANY_REQUESTS', `more than ${MAX_LANES} partitions on one connection`)
    if (open.origin === this.options.nodeId) {
      this.tell({ type: 'opened', lane: open.lane, positions: null })
      return
    }
    const mirror = await this.mirrorFor(open, via)
    const positions: LanePosition[] = []
    for (let index = 0; index < open.partitions.length; index++) {
      const partition = index as PartitionId
      this.lanes.set(open.lane + index, { mirror, partition, stuck: false })
      // What another connection has brought must be durable before it is said to be here.
      await durable(mirror, partition)
      const end = mirror.highWatermark(partition)
      const tip = await recordTip(mirror, partition, end - 1)
      positions.push({ epoch: mirror.epoch(partition), next: this.pastLedger(mirror, partition, end), tip })
    }
    this.tell({ type: 'opened', lane: open.lane, positions })
  }

  private async mirrorFor(open: Open, via: string): Promise<MirrorStream> {
    const { mirrors } = this.options
    const { origin, stream, partitions } = open
    const known = mirrors.find(origin, stream)
    const diverged = this.receiver.diverged.delete(`${origin}.${stream}`)
    const replaced =
      known !== undefined && (open.fresh || diverged || partitions.some(({ end }, p) => hasMore(known, p, end)))
    if (!replaced) {
      const begins = partitions.map(({ start, cursor, epoch }) => ({ base: Math.min(start, cursor), epoch }))
      return mirrors.open(origin, stream, begins, via)
    }
    return this.replace(
      known,
      partitions.map(({ start, epoch }) => ({ base: start, epoch })),
      via,
    )
  }

  private async replace(
    known: MirrorStream,
    begins: readonly { readonly base: number; readonly epoch: number }[],
    via: string,
  ): Promise<MirrorStream> {
    const { mirrors, origins } = this.options
    const { origin, stream, incarnation } = known
    const mirror = await mirrors.begin(origin, stream, begins, via)
    const what = `${stream} is no longer what was forwarded before: a new mirror was begun, the old one is ${origin}.${stream}.${incarnation}`
    origins.alarm(via, what)
    return mirror
  }

  /** @returns null where it could be appended at once. */
  private frame(frame: Frame): Promise<void> | null {
    const lane = this.lanes.get(frame.lane)
    if (lane === undefined)
      throw new SluiceError('INVALID_REQUEST', `a frame for lane ${frame.lane}, which is not open`)
    if (lane.stuck) return null
    checkBatches(frame)
    return frame.gaps.length === 0 ? this.appendAll(frame, lane) : this.takeGaps(frame, lane)
  }

  private async takeGaps(frame: Frame, lane: ReceivingLane): Promise<void> {
    const { mirror, partition } = lane
    const { clock, ledger } = this.options
    const end = mirror.nextOffset(partition)
    const entries = frame.gaps
      .filter(({ last }) => last >= end)
      .map(({ first, last, reason }) => ({
        destination: '*',
        stream: mirror.name,
        partition,
        firstOffset: Math.max(first, end) as Offset,
        lastOffset: last as Offset,
        reason: (LEDGER_REASONS.has(reason) ? reason : 'several') as LedgerReason,
        atMs: clock.wallMs(),
      }))
    await ledger.add(entries)
    await this.appendAll(frame, lane)
  }

  private appendAll(frame: Frame, lane: ReceivingLane): Promise<void> | null {
    const { mirror, partition } = lane
    let appended = false
    for (const batch of frame.batches) {
      const end = mirror.nextOffset(partition)
      const base = baseOffsetOf(batch)
      if (lastOffsetOf(batch) < end || base < end) {
        // What the log has at these offsets is of an earlier epoch: those are other records.
        if (leaderEpochOf(batch) > mirror.epoch(partition)) throw this.diverged(lane)
        if (lastOffsetOf(batch) < end) continue
        return this.lacks(frame.lane, lane, end)
      }
      if (base > end && this.pastLedger(mirror, partition, end) < base) return this.lacks(frame.lane, lane, end)
      this.ackWhenDurable(frame.lane, mirror, partition, batch)
      appended = true
    }
    if (appended) return mirror.log.hasRoom ? null : mirror.log.whenRoom()
    // Nothing was new: the sender waits for word all the same.
    return durable(mirror, partition).then(() => this.ackDurable(frame.lane, lane))
  }

  private ackWhenDurable(lane: number, mirror: MirrorStream, partition: PartitionId, batch: Buffer): void {
    const commit = mirror.appendBatch(partition, batch)
    const ack = { lane, epoch: leaderEpochOf(batch), next: lastOffsetOf(batch) + 1 }
    const waiting = this.waitingFor.get(commit)
    if (waiting !== undefined) {
      waiting.set(lane, ack)
      return
    }
    const acks = new Map([[lane, ack]])
    this.waitingFor.set(commit, acks)
    commit.onSettled((error) => {
      if (error !== null) this.refuse(error)
      else this.tell({ type: 'ack', acks: [...acks.values()] })
    })
  }

  private ackDurable(lane: number, { mirror, partition }: ReceivingLane): void {
    const next = this.pastLedger(mirror, partition, mirror.highWatermark(partition))
    this.tell({ type: 'ack', acks: [{ lane, epoch: mirror.epoch(partition), next }] })
  }

  private lacks(number: number, lane: ReceivingLane, next: number): null {
    lane.stuck = true
    this.tell({ type: 'lacks', lane: number, next })
    return null
  }

  private diverged({ mirror, partition }: ReceivingLane): SluiceError {
    this.receiver.diverged.add(mirror.name)
    const what = `partition ${partition} of ${mirror.name} has other records at offsets it had before`
    return new SluiceError('FENCED_EPOCH', `${what}; the next connection begins a new mirror`)
  }

  private async groups({ lane: number, groups }: Groups): Promise<void> {
    const lane = this.lanes.get(number)
    if (lane === undefined) return
    const { mirror, partition } = lane
    for (const { group, offset, metadata } of groups)
      await this.options.commitGroup(group, mirror.name, partition, offset as Offset, metadata)
  }

  /** The end of the log, moved on over what the ledger knows as gone. Rows that have been coarsened say nothing exact. */
  private pastLedger(mirror: MirrorStream, partition: PartitionId, end: number): number {
    let next = end
    const rows = this.options.ledger
      .list()
      .filter((row) => row.stream === mirror.name && row.partition === partition && row.destination === '*')
    for (const { firstOffset, lastOffset, records } of rows) {
      const exact = records === lastOffset - firstOffset + 1
      if (exact && firstOffset <= next && lastOffset >= next) next = lastOffset + 1
    }
    return next
  }

  private tell(message: DownMessage): void {
    if (!this.closed) this.peer.send(encodeDown(message))
  }

  private guard(done: Promise<void>): Promise<void> {
    return done.catch((error) => this.refuse(error))
  }

  private refuse(error: unknown): void {
    if (this.closed) return
    const code = error instanceof SluiceError ? error.code : 'INTERNAL'
    this.options.logger.warn('what a node forwards was refused', {
      origin: this.nodeId,
      code,
      reason: messageOf(error),
    })
    this.tell({ type: 'refused', code, message: messageOf(error).slice(0, MAX_REASON_LENGTH) })
    this.peer.close(messageOf(error))
    this.end()
  }
}

const MAX_REASON_LENGTH = 1000

/** Resolves when what has been appended to the partition so far is durable, or has failed to be. */
async function durable(mirror: MirrorStream, partition: PartitionId): Promise<void> {
  const end = mirror.nextOffset(partition)
  while (mirror.highWatermark(partition) < end && mirror.nextOffset(partition) >= end)
    await new Promise<void>((resolve) => {
      const stop = mirror.onChange(() => {
        stop()
        resolve()
      })
    })
}

/** More than its origin has: some of it cannot be the origin's. */
function hasMore(mirror: MirrorStream, partition: number, end: number): boolean {
  return partition < mirror.partitions && mirror.nextOffset(partition as PartitionId) > end
}

/** @throws SluiceError CORRUPT_MESSAGE */
function checkBatches({ batches }: Frame): void {
  let next = -1
  for (const batch of batches) {
    const problem = recordBatchProblem(batch)
    if (problem !== null) throw new SluiceError('CORRUPT_MESSAGE', `a record batch in a frame ${problem}`)
    if (next !== -1 && baseOffsetOf(batch) !== next)
      throw new SluiceError('CORRUPT_MESSAGE', 'the record batches of a frame do not follow each other')
    next = lastOffsetOf(batch) + 1
  }
}
