// One connection of another node that forwards to this one.
//
//   new ──hello──▶ admitted ──open──▶ lanes ──frame──▶ appended ──durable──▶ ack            any violation ──refused──▶ closed

import { messageOf, SluiceError } from '../base/errors.js'
import type { Commit } from '../log/types.js'
import { hasZstd } from '../record/compression.js'
import type { Offset, PartitionId } from '../record/record.js'
import { openMirror } from './mirror-opening.js'
import { decodeUp, encodeDown } from './node-codec.js'
import {
  type DownMessage,
  type Groups,
  type Hello,
  type LaneAck,
  type LanePosition,
  MAX_LANES,
  type Open,
  PROTOCOL_VERSION,
} from './node-protocol.js'
import type { Receiver, ReceiverOptions } from './receiver.js'
import { ReceivingLane } from './receiving-lane.js'
import { recordTip } from './record-tip.js'

/** The far side of a connection. */
export interface ReceptionPeer {
  send(payload: Buffer): void
  /** Whether its login may bring what was first acknowledged at that node. */
  mayBring(origin: string): boolean
  /** It is a node: larger packets may come. */
  admitted(): void
  /** Ends the connection once what was sent has left. */
  close(reason: string): void
}

const MAX_REASON_LENGTH = 1000

export class Reception {
  private nodeId: string | null = null
  private closed = false
  private readonly lanes = new Map<number, ReceivingLane>()
  /** Whose records it brings, itself included. */
  private readonly origins = new Set<string>()
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
      const done = this.handle(payload)
      return done === null ? null : done.catch((error) => this.refuse(error))
    } catch (error) {
      this.refuse(error)
      return null
    }
  }

  /** The connection is gone. */
  end(): void {
    this.closed = true
    this.lanes.clear()
    if (this.nodeId !== null) this.receiver.left(this.nodeId, this)
    this.nodeId = null
  }

  /** Another connection has shown to be the node's: what still comes on this one may be of a copy. */
  supersede(): void {
    this.refuse(new SluiceError('FENCED_EPOCH', `${this.nodeId} has connected anew`))
  }

  private handle(payload: Buffer): Promise<void> | null {
    const message = decodeUp(payload)
    if (message.type === 'hello') return this.hello(message)
    if (this.nodeId === null) throw new SluiceError('INVALID_REQUEST', 'the first message is not hello')
    if (message.type === 'open') return this.openLanes(message, this.nodeId)
    if (message.type === 'groups') return this.groups(message)
    const lane = this.lanes.get(message.lane)
    if (lane === undefined)
      throw new SluiceError('INVALID_REQUEST', `a frame for lane ${message.lane}, which is not open`)
    return lane.take(message)
  }

  /** What the login may bring has changed: a connection that brings what it may not ends. */
  accessChanged(): void {
    try {
      for (const origin of this.origins) this.checkMayBring(origin)
    } catch (error) {
      this.refuse(error)
    }
  }

  /** So that one gateway's login cannot write into another's mirror. */
  private checkMayBring(origin: string): void {
    if (!this.peer.mayBring(origin)) {
      const message = `this login may not bring records of ${origin}: an ACL file here would let it write $sluice/origin/${origin}`
      throw new SluiceError('FORBIDDEN', message, { origin })
    }
    this.origins.add(origin)
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
    this.checkMayBring(hello.nodeId)
    await origins.admit(hello)
    if (this.closed) return
    this.nodeId = hello.nodeId
    this.receiver.arrived(hello.nodeId, this)
    this.peer.admitted()
    logger.info('a node forwards to this one', { origin: hello.nodeId })
    this.tell({ type: 'welcome', version: PROTOCOL_VERSION, nodeId, maxFrameBytes, readsZstd: hasZstd })
  }

  private async openLanes(open: Open, via: string): Promise<void> {
    const { mirrors, origins, nodeId } = this.options
    if (open.lane + open.partitions.length > MAX_LANES)
      throw new SluiceError('TOO_MANY_REQUESTS', `more than ${MAX_LANES} partitions on one connection`)
    if (open.origin === nodeId) {
      this.tell({ type: 'opened', lane: open.lane, positions: null })
      return
    }
    this.checkMayBring(open.origin)
    const diverged = this.receiver.diverged.delete(`${open.origin}.${open.stream}`)
    const { mirror, alarm } = await openMirror(mirrors, open, via, diverged)
    if (alarm !== null) origins.alarm(via, alarm)
    const positions: LanePosition[] = []
    for (let index = 0; index < open.partitions.length; index++) {
      const partition = index as PartitionId
      const lane = this.laneOf(open.lane + index, mirror, partition)
      // What another connection has brought must be durable before it is said to be here.
      const next = await lane.durablePosition()
      // Messages come one after the other: no frame has been looked at meanwhile.
      if (!this.closed) this.lanes.set(open.lane + index, lane)
      positions.push({ epoch: mirror.epoch(partition), next, tip: await recordTip(mirror, partition, next - 1) })
    }
    origins.canTake(via)
    this.tell({ type: 'opened', lane: open.lane, positions })
  }

  private laneOf(lane: number, mirror: ReceivingLane['mirror'], partition: PartitionId): ReceivingLane {
    const { ledger, clock } = this.options
    return new ReceivingLane({
      ...{ mirror, partition, ledger, clock },
      onAppended: (commit, epoch, next) => this.ackWhenDurable(commit, { lane, epoch, next }),
      onKnown: (epoch, next) => this.tell({ type: 'ack', acks: [{ lane, epoch, next }] }),
      onLacks: (next) => this.tell({ type: 'lacks', lane, next }),
      onDiverged: () => this.receiver.diverged.add(mirror.name),
    })
  }

  private ackWhenDurable(commit: Commit, ack: LaneAck): void {
    const waiting = this.waitingFor.get(commit)
    if (waiting !== undefined) {
      waiting.set(ack.lane, ack)
      return
    }
    const acks = new Map([[ack.lane, ack]])
    this.waitingFor.set(commit, acks)
    commit.onSettled((error) => {
      if (error !== null) this.refuse(error)
      else this.tell({ type: 'ack', acks: [...acks.values()] })
    })
  }

  private async groups({ lane: number, groups }: Groups): Promise<void> {
    const lane = this.lanes.get(number)
    if (lane === undefined) return
    const { mirror, partition } = lane
    for (const { group, offset, metadata } of groups) {
      // Never beyond what is here: a consumer that goes on here would miss what is still to come.
      const reached = Math.min(offset, mirror.highWatermark(partition)) as Offset
      await this.options.commitGroup(group, mirror.name, partition, reached, metadata)
    }
  }

  private tell(message: DownMessage): void {
    if (!this.closed) this.peer.send(encodeDown(message))
  }

  private refuse(error: unknown): void {
    if (this.closed) return
    const code = error instanceof SluiceError ? error.code : 'INTERNAL'
    const { logger, origins } = this.options
    const waits = code === 'STORAGE_FULL' || code === 'STORAGE_READ_ONLY'
    // Another life of a node is what `origins` has just told of.
    const isFenced = code === 'FENCED_EPOCH' && this.nodeId === null
    const isNews = !isFenced && (!waits || this.nodeId === null || origins.cannotTake(this.nodeId, messageOf(error)))
    const fields = { origin: this.nodeId, code, reason: messageOf(error) }
    logger[isNews ? 'warn' : 'debug']('what a node forwards was refused', fields)
    this.tell({ type: 'refused', code, message: messageOf(error).slice(0, MAX_REASON_LENGTH) })
    this.peer.close(messageOf(error))
    this.end()
  }
}
