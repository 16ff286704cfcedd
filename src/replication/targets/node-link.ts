// One connection to a Sluice node: says hello, opens the streams, sends frames, hears how far they are durable (node-protocol.ts).
//
//   connect ─CONNACK─▶ hello ─welcome─▶ open per stream ─opened─▶ up ─▶ frames ─ack─▶ slots are free

import type { Clock } from '../../base/clock.js'
import { ERROR_CODES, type ErrorCode, SluiceError } from '../../base/errors.js'
import type { StreamReader } from '../../log/types.js'
import type { Offset, PartitionId } from '../../record/record.js'
import type { FrameShipment } from '../frame-packer.js'
import { decodeDown, encodeUp } from '../node-codec.js'
import {
  DOWN_TOPIC,
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
import { type GroupPositions, GroupTeller, type ToldLane } from './group-teller.js'
import type { MqttAddress } from './mqtt-address.js'
import type { MqttConnection } from './mqtt-connection.js'
import { encodePublish } from './publish-encoder.js'
import { StreamOpening, type StreamOrigin } from './stream-opening.js'
import type { Link, LinkEvents, OfferedLane, Source } from './target.js'

export interface NodeLinkOptions {
  readonly nodeId: string
  readonly originEpoch: OriginEpoch
  /** What the ledger knows of offsets, both inclusive, that will not be sent. */
  readonly gapsOf: (source: Source, first: number, last: number) => readonly ToldGap[]
  readonly groups: GroupPositions
  /** Of a stream to be forwarded: where its records were first acknowledged, and who brought them here. */
  readonly originOf: (stream: StreamReader) => StreamOrigin
  readonly address: MqttAddress
  readonly connectTimeoutMs: number
  /** See StreamOpening. */
  readonly diverged: Set<string>
  readonly events: LinkEvents
  readonly onWelcome: (welcome: Welcome) => void
  readonly clock: Clock
}

/** Frames under way; with the read-ahead and what a commit holds, this bounds the memory a drain takes. */
export const MAX_FRAMES_IN_FLIGHT = 16
/** How often committed offsets that have moved are told. */
const GROUPS_EVERY_MS = 2_000
/** Packet identifiers of what is said beside frames, used in turn. */
const CONTROL_SLOTS = 64
const TOPIC = Buffer.from(UP_TOPIC)

interface LinkLane extends ToldLane {
  ackedEnd: number
  /** One past what has been sent, or where to begin. */
  sentEnd: number
  /** What was sent and not yet acknowledged, in order. */
  readonly flights: { readonly slot: number; readonly nextOffset: number }[]
}

export class NodeLink implements Link<FrameShipment> {
  private readonly connection: MqttConnection
  private readonly lanes = new Map<number, LinkLane>()
  /** `stream/partition` -> lane. */
  private readonly numbers = new Map<string, number>()
  /** By their first lane: asked for, not yet answered. */
  private readonly opening = new Map<number, StreamOpening>()
  /** Frames sent and not yet acknowledged. */
  inFlight = 0
  private nextLane = 0
  private said = 0
  private pair: EpochPair | null = null
  private upstreamId: string | null = null
  private isUp = false
  private over = false
  private cancelTimer: () => void
  private readonly groups: GroupTeller

  constructor(private readonly options: NodeLinkOptions) {
    const { address, events, clock, connectTimeoutMs } = options
    this.groups = new GroupTeller(options.groups)
    this.connection = address.connect(
      {
        onConnected: () => void this.hello(),
        // It frees the packet identifier; what was sent is acknowledged by a message of the upstream's own.
        onAck: () => {},
        onProgress: () => {},
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

  passed(source: Source, next: Offset): void {
    const number = this.numbers.get(keyOf(source))
    const lane = number === undefined ? undefined : this.lanes.get(number)
    if (number === undefined || lane === undefined || lane.sentEnd >= next) return
    const gaps = this.options.gapsOf(lane.source, lane.sentEnd, next - 1)
    lane.sentEnd = next
    this.say({ type: 'frame', lane: number, gaps, batches: [] })
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
      const origin = originOf(reader)
      const back = origin.origin === this.upstreamId || origin.via === this.upstreamId
      if (back || this.nextLane + lanes.length > MAX_LANES) {
        events.onPositions(lanes.map(({ stream, partition }) => ({ stream, partition, next: null })))
        continue
      }
      for (const [index, lane] of lanes.entries()) this.numbers.set(keyOf(lane), this.nextLane + index)
      this.open(this.nextLane, lanes, origin)
      this.nextLane += lanes.length
    }
  }

  private open(lane: number, lanes: readonly OfferedLane[], origin: StreamOrigin): void {
    const opening = new StreamOpening({
      ...{ lane, lanes, origin },
      diverged: this.options.diverged,
      say: (message) => this.say(message),
      onPosition: (index, next) => this.goOn(lane + index, lanes[index], next),
      onProblem: (error) => this.reset(error),
      isOver: () => this.over,
    })
    this.opening.set(lane, opening)
    opening.open().catch((error) => this.reset(error))
  }

  private async opened(message: Opened): Promise<void> {
    const opening = this.opening.get(message.lane)
    if (opening === undefined) return
    try {
      if (!(await opening.opened(message)) || this.over) return
    } catch (error) {
      return this.reset(error as SluiceError)
    }
    this.opening.delete(message.lane)
    this.becomeUp()
  }

  private goOn(number: number, { stream, partition }: OfferedLane, next: Offset | null): void {
    if (next !== null)
      this.lanes.set(number, { source: { stream, partition }, ackedEnd: next, sentEnd: next, flights: [] })
    this.options.events.onPositions([{ stream, partition, next }])
  }

  private becomeUp(): void {
    if (this.isUp || this.opening.size > 0) return
    this.isUp = true
    this.cancelTimer()
    this.tellGroups()
    this.options.events.onUp()
    // Those that came while the others were being opened were announced to nobody.
    this.openNew()
  }

  private tellGroups(): void {
    for (const { lane, groups } of this.groups.moved(this.lanes)) this.say({ type: 'groups', lane, groups })
    this.cancelTimer = this.options.clock.after(GROUPS_EVERY_MS, () => this.tellGroups())
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
    this.connection.publish(encodePublish(TOPIC, payload), slot)
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
