// Another Sluice node as an upstream: frames of record batches as they are stored (frame-packer.ts), in the protocol of node-protocol.ts. The
// upstream says where each partition goes on and acknowledges by position; what is on disk here is a hint.
//
//   connect ─CONNACK─▶ hello ─welcome─▶ open per stream ─opened (and its tip is ours)─▶ up ─▶ frames ─ack─▶ slots are free

import type { Clock } from '../../base/clock.js'
import { ERROR_CODES, type ErrorCode, SluiceError } from '../../base/errors.js'
import type { StreamReader } from '../../log/types.js'
import type { Offset, PartitionId } from '../../record/record.js'
import { FramePacker, type FrameShipment } from '../frame-packer.js'
import {
  DOWN_TOPIC,
  decodeDown,
  encodeUp,
  type GroupPosition,
  type LaneAck,
  MAX_LANES,
  type Opened,
  PROTOCOL_VERSION,
  type ToldGap,
  UP_TOPIC,
  type UpMessage,
  type Welcome,
} from '../node-protocol.js'
import type { EpochPair, OriginEpoch } from '../origin-epoch.js'
import { recordTip } from '../record-tip.js'
import { MqttAddress, type MqttConnection, type MqttConnectionOptions } from './mqtt-connection.js'
import type { Link, LinkEvents, OfferedLane, Source, Target } from './target.js'

export interface SluiceTargetOptions extends MqttConnectionOptions {
  readonly nodeId: string
  readonly originEpoch: OriginEpoch
  /** What the ledger knows of offsets, both inclusive, that will not be sent. */
  readonly gapsOf: (source: Source, first: number, last: number) => readonly ToldGap[]
  readonly groups: GroupPositions
  /** Of a stream to be forwarded: where its records were first acknowledged, and who brought them here. */
  readonly originOf: (stream: StreamReader) => StreamOrigin
}

/** Committed offsets of consumer groups. */
export interface GroupPositions {
  groups(): readonly string[]
  ofGroup(group: string): readonly {
    readonly stream: string
    readonly partition: number
    readonly offset: number
    readonly metadata: string
  }[]
}

export interface StreamOrigin {
  readonly origin: string
  readonly stream: string
  /** The node it was forwarded from; null for the own streams. */
  readonly via: string | null
}

/** Frames under way; with the read-ahead and what a commit holds, this bounds the memory a drain takes. */
const MAX_FRAMES_IN_FLIGHT = 16
/** How often committed offsets that have moved are told. */
const GROUPS_EVERY_MS = 2_000
/** In one message; the rest goes with the next. */
const MAX_GROUPS_TOLD = 256
/** Of a packet, what is not batches. */
const ENVELOPE_BYTES = 4096
/** Packet identifiers of what is said beside frames, used in turn. */
const CONTROL_SLOTS = 64
const NOBODY: Buffer = Buffer.alloc(0)
const TOPIC = Buffer.from(UP_TOPIC)

export class SluiceTarget implements Target<FrameShipment> {
  readonly maxSlots = MAX_FRAMES_IN_FLIGHT
  readonly packBatches = Number.POSITIVE_INFINITY
  readonly tellsPositions = true
  readonly refusesBySilence = false
  private readonly address: MqttAddress
  private readonly packer = new FramePacker()
  private link: NodeLink | null = null
  private limits = { maxBatchBytes: Number.POSITIVE_INFINITY, readsZstd: false }

  /** @throws SluiceError INVALID_CONFIG for a URL or TLS material that cannot be used. */
  constructor(
    private readonly options: SluiceTargetOptions,
    private readonly clock: Clock,
  ) {
    this.address = new MqttAddress(options)
  }

  get url(): string {
    return this.address.url
  }

  pack(source: Source, batches: readonly Buffer[], from: Offset): Promise<FrameShipment[]> {
    const inHaste = (this.link?.inFlight ?? 0) < MAX_FRAMES_IN_FLIGHT / 2
    return this.packer.pack(source, batches, from, { ...this.limits, inHaste })
  }

  connect(events: LinkEvents): NodeLink {
    const onWelcome = ({ maxFrameBytes, readsZstd }: Welcome): void => {
      this.limits = { maxBatchBytes: maxFrameBytes - ENVELOPE_BYTES, readsZstd }
    }
    this.link = new NodeLink(this.address, this.options, { ...this.options, onWelcome, events }, this.clock)
    return this.link
  }
}

interface NodeLinkOptions
  extends Pick<SluiceTargetOptions, 'nodeId' | 'originEpoch' | 'gapsOf' | 'groups' | 'originOf'> {
  readonly events: LinkEvents
  readonly onWelcome: (welcome: Welcome) => void
}

interface LinkLane {
  readonly source: Source
  readonly reader: StreamReader
  /** One past what the upstream has. */
  ackedEnd: number
  /** Of each group: what it was told. */
  readonly toldGroups: Map<string, number>
  /** One past what has been sent, or where to begin. */
  sentEnd: number
  /** What was sent and not yet acknowledged, in order. */
  readonly flights: { readonly slot: number; readonly nextOffset: number }[]
}

interface OpeningStream {
  readonly lane: number
  readonly lanes: readonly OfferedLane[]
  fresh: boolean
}

export class NodeLink implements Link<FrameShipment> {
  private readonly connection: MqttConnection
  private readonly lanes = new Map<number, LinkLane>()
  /** `stream/partition` -> lane. */
  private readonly numbers = new Map<string, number>()
  /** By their first lane: asked for, not yet answered. */
  private readonly opening = new Map<number, OpeningStream>()
  /** Frames sent and not yet acknowledged. */
  inFlight = 0
  private nextLane = 0
  private said = 0
  private pair: EpochPair | null = null
  private upstreamId: string | null = null
  private isUp = false
  private over = false
  private cancelTimer: () => void

  constructor(
    address: MqttAddress,
    { connectTimeoutMs }: MqttConnectionOptions,
    private readonly options: NodeLinkOptions,
    private readonly clock: Clock,
  ) {
    const { events } = options
    this.connection = address.connect(
      {
        onConnected: () => void this.hello(),
        onPacket: (packet) => {
          if (packet.cmd === 'publish' && packet.topic === DOWN_TOPIC) this.receive(Buffer.from(packet.payload))
        },
        onRoom: () => events.onRoom(),
        onDown: (reason) => {
          this.over = true
          this.cancelTimer()
          events.onDown(reason)
        },
      },
      clock,
    )
    const late = new SluiceError('NOT_REACHABLE', 'connected, but no Sluice node answers there')
    this.cancelTimer = clock.after(connectTimeoutMs, () => this.reset(late))
  }

  get hasRoom(): boolean {
    return this.connection.hasRoom
  }

  send(shipment: FrameShipment, slot: number): void {
    const number = this.numbers.get(keyOf(shipment)) as number
    const lane = this.lanes.get(number) as LinkLane
    const { offset, nextOffset, batches } = shipment
    const gaps = offset > lane.sentEnd ? this.options.gapsOf(lane.source, lane.sentEnd, offset - 1) : []
    lane.flights.push({ slot, nextOffset })
    this.inFlight += 1
    lane.sentEnd = nextOffset
    this.publish({ type: 'frame', lane: number, gaps, batches }, slot)
  }

  lanesAdded(): void {
    if (this.isUp) this.openNew()
  }

  flush(): void {
    this.connection.flush()
  }

  end(): void {
    this.connection.end()
  }

  reset(reason: SluiceError): void {
    this.connection.reset(reason)
  }

  private async hello(): Promise<void> {
    const { nodeId, originEpoch } = this.options
    try {
      this.pair = await originEpoch.propose()
    } catch (error) {
      this.reset(error as SluiceError)
      return
    }
    this.say({ type: 'hello', version: PROTOCOL_VERSION, nodeId, ...this.pair })
  }

  private receive(payload: Buffer): void {
    if (this.over) return
    try {
      const message = decodeDown(payload)
      if (message.type === 'welcome') this.welcome(message)
      else if (message.type === 'opened') void this.opened(message)
      else if (message.type === 'ack') for (const ack of message.acks) this.acked(ack)
      else if (message.type === 'lacks') this.lacks(message.lane, message.next)
      else this.reset(refusal(message.code, message.message))
    } catch (error) {
      this.reset(error as SluiceError)
    }
  }

  private welcome(welcome: Welcome): void {
    if (welcome.version !== PROTOCOL_VERSION)
      throw new SluiceError(
        'NOT_REACHABLE',
        `the upstream speaks version ${welcome.version} of the protocol between nodes`,
      )
    if (this.pair !== null) this.options.originEpoch.confirmed(this.pair).catch((error) => this.reset(error))
    this.upstreamId = welcome.nodeId
    this.options.onWelcome(welcome)
    this.openNew()
    this.becomeUp()
  }

  /** Asks for every stream that has not been asked for. */
  private openNew(): void {
    const { events, originOf } = this.options
    const byStream = new Map<StreamReader, OfferedLane[]>()
    for (const lane of events.lanes()) byStream.set(lane.reader, [...(byStream.get(lane.reader) ?? []), lane])
    for (const [reader, lanes] of byStream) {
      const known = lanes.filter((lane) => this.numbers.has(keyOf(lane))).length
      if (known === lanes.length) continue
      // Its lanes are numbered in a row.
      if (known > 0) {
        this.reset(new SluiceError('NOT_REACHABLE', `${reader.name} has more partitions: connecting anew`))
        return
      }
      const { origin, via } = originOf(reader)
      const back = origin === this.upstreamId || via === this.upstreamId
      if (back || this.nextLane + lanes.length > MAX_LANES) {
        events.onPositions(lanes.map(({ stream, partition }) => ({ stream, partition, next: null })))
        continue
      }
      for (const [index, lane] of lanes.entries()) this.numbers.set(keyOf(lane), this.nextLane + index)
      this.open({ lane: this.nextLane, lanes, fresh: false })
      this.nextLane += lanes.length
    }
  }

  private open(opening: OpeningStream): void {
    const { lane, lanes, fresh } = opening
    this.opening.set(lane, opening)
    const [{ reader }] = lanes
    const { origin, stream } = this.options.originOf(reader)
    const partitions = lanes.map(({ partition, cursor }) => {
      const [start, end] = [reader.logStartOffset(partition), reader.highWatermark(partition)]
      return { start, cursor: Math.min(cursor, end), end, epoch: 0 }
    })
    this.say({ type: 'open', lane, origin, stream, fresh, partitions })
  }

  private async opened({ lane, positions }: Opened): Promise<void> {
    const opening = this.opening.get(lane)
    if (opening === undefined) return
    const { events } = this.options
    const { lanes } = opening
    if (positions !== null && positions.length !== lanes.length)
      return this.reset(
        new SluiceError('CORRUPT_MESSAGE', 'the upstream answers for other partitions than it was asked for'),
      )
    try {
      for (const [index, { next, tip }] of (positions ?? []).entries()) {
        const { reader, partition } = lanes[index]
        const own = tip === null ? null : await recordTip(reader, partition, next - 1)
        if (this.over) return
        if (own === null || own === tip || opening.fresh) continue
        // What is there is not the beginning of what is here.
        opening.fresh = true
        return this.open(opening)
      }
    } catch (error) {
      return this.reset(error as SluiceError)
    }
    this.opening.delete(lane)
    const told = lanes.map(({ stream, partition, reader }, index) => {
      const next = positions === null ? null : (positions[index].next as Offset)
      if (next !== null)
        this.lanes.set(lane + index, {
          source: { stream, partition },
          reader,
          ackedEnd: next,
          sentEnd: next,
          toldGroups: new Map(),
          flights: [],
        })
      return { stream, partition, next }
    })
    events.onPositions(told)
    this.becomeUp()
  }

  private becomeUp(): void {
    if (this.isUp || this.opening.size > 0) return
    this.isUp = true
    this.cancelTimer()
    this.tellGroups()
    this.options.events.onUp()
  }

  /** Committed offsets travel along, never beyond what the upstream has, so that a consumer can go on there. */
  private tellGroups(): void {
    const { groups } = this.options
    const rows = groups.groups().flatMap((group) => groups.ofGroup(group).map((row) => ({ ...row, group })))
    for (const [number, { source, ackedEnd, toldGroups }] of this.lanes) {
      const moved: GroupPosition[] = []
      for (const { group, stream, partition, offset, metadata } of rows) {
        if (stream !== source.stream || partition !== source.partition) continue
        const reached = Math.min(offset, ackedEnd)
        if (toldGroups.get(group) === reached || moved.length === MAX_GROUPS_TOLD) continue
        toldGroups.set(group, reached)
        moved.push({ group, offset: reached, metadata })
      }
      if (moved.length > 0) this.say({ type: 'groups', lane: number, groups: moved })
    }
    this.cancelTimer = this.clock.after(GROUPS_EVERY_MS, () => this.tellGroups())
  }

  private acked({ lane: number, next }: LaneAck): void {
    const lane = this.lanes.get(number)
    if (lane === undefined) return
    lane.ackedEnd = Math.max(lane.ackedEnd, next)
    while (lane.flights.length > 0 && lane.flights[0].nextOffset <= next) {
      const { slot } = lane.flights.shift() as { slot: number }
      this.inFlight -= 1
      this.options.events.onAck(slot)
      if (this.over) return
    }
  }

  private lacks(number: number, next: number): void {
    const lane = this.lanes.get(number)
    const name = lane === undefined ? `lane ${number}` : keyOf(lane.source)
    this.reset(new SluiceError('NOT_REACHABLE', `the upstream wants ${name} from offset ${next} on: connecting anew`))
  }

  private say(message: UpMessage): void {
    this.said += 1
    this.publish(message, MAX_FRAMES_IN_FLIGHT + (this.said % CONTROL_SLOTS))
    this.connection.flush()
  }

  private publish(message: UpMessage, slot: number): void {
    const payload = encodeUp(message)
    this.connection.publish({ parts: [TOPIC], topic: NOBODY, topicBytes: TOPIC.length, payload, retain: false }, slot)
  }
}

function keyOf({ stream, partition }: { readonly stream: string; readonly partition: PartitionId }): string {
  return `${stream}/${partition}`
}

function refusal(code: string, message: string): SluiceError {
  return new SluiceError(
    code in ERROR_CODES ? (code as ErrorCode) : 'NOT_REACHABLE',
    `refused by the upstream: ${message}`,
  )
}
