// One connection: lets in what MQTT 3.1 and 3.1.1 allow and nothing else, takes PUBLISH and the QoS 2 handshake out of the stream
// straight into the publish path, and owes the acknowledgements. What breaks the protocol closes this connection and touches no other
// [MQTT-4.8.0-1].
//
//   connect ──CONNECT──▶ connecting ──CONNACK 0──▶ open ──▶ closed          any state ──violation, time-out, socket gone──▶ closed
//
// Reading stops, and TCP holds the sender back, while any bit of `holds` is set.

import type { Duplex } from 'node:stream'
import type { Commit } from '../log/types.js'
import { AckQueue } from './ack-queue.js'
import { CLIENT_DISCONNECTED, type CloseReason, CONNECTION_LOST, fault, ordinary, violation } from './close-reason.js'
import type { ConnectPacket } from './connect-packet.js'
import { takeControlPacket } from './control-packets.js'
import { encodeConnack } from './encode.js'
import type { GateHost } from './gate-host.js'
import { encodeForNode, type NodeLink, ORIGIN_TOPIC_PREFIX } from './node-links.js'
import { Outbox } from './outbox.js'
import { PacketFramer } from './packet-framer.js'
import { PublishIntake } from './publish-intake.js'
import { type HoardingStream, isHoarding } from './read-memory.js'
import type { Session } from './session.js'
import { readChunks } from './shared-reads.js'
import { SignsOfLife, TOO_SLOW } from './signs-of-life.js'

/** Why reading is held. */
const HOLD_CONNECTING = 1
const HOLD_NO_ROOM = 2
const HOLD_ACKS = 4
const HOLD_OUTPUT = 8
const HOLD_SUBSCRIBE = 16

const KEY_OF = { 'packet size': 'mqtt.max_packet_size', handshakes: 'mqtt.max_qos2_handshakes' } as const

export class Gate {
  readonly outbox: Outbox
  session: Session | null = null
  private intake: PublishIntake | null = null
  /** What CONNECT said, once it has come. */
  connectPacket: ConnectPacket | null = null
  state: 'connect' | 'connecting' | 'open' | 'closed' = 'connect'
  receivedBytes = 0
  /** Messages above QoS 0 it may be sent before it acknowledges any, inclusive, where it asked for another number than others have. */
  maxInflight: number | null = null
  private readonly framer: PacketFramer
  private readonly acks: AckQueue
  private readonly life: SignsOfLife
  private holds = 0
  /** The stream below where it keeps what it receives, and how much that is. */
  private readonly hoarding: HoardingStream | null
  private hoarded = 0
  private nodeLink: NodeLink | null = null
  private closeReason: CloseReason = CONNECTION_LOST

  constructor(
    readonly socket: Duplex,
    private readonly host: GateHost,
    readonly remoteAddress: string,
    /** The common name of the client's certificate, verified. */
    readonly certificateName?: string,
  ) {
    const { limits, clock } = host
    this.life = new SignsOfLife(limits, clock.monotonicMs())
    const firstLimit = Math.min(limits.maxConnectPacketBytes, limits.maxPacketBytes)
    this.framer = new PacketFramer(this, firstLimit, host.readMemory)
    this.acks = new AckQueue(this, limits.maxUnacknowledged)
    this.outbox = new Outbox(socket, this, limits.maxQueuedBytesPerConnection)
    readChunks(socket, (chunk, end) => this.onChunk(chunk, end))
    this.hoarding = isHoarding(socket) ? socket : null
    if (this.hoarding !== null) this.hoarding.onHeld = () => this.afterReading()
    socket.on('error', (error) => this.note(ordinary(error.message)))
    socket.on('close', () => this.onSocketClosed())
  }

  get paused(): boolean {
    return this.holds !== 0
  }
  /** Received, and no message yet. */
  get heldBytes(): number {
    return this.framer.heldBytes + this.hoarded
  }
  /** Acknowledgements this connection is owed. */
  get unacknowledged(): number {
    return this.acks.length
  }

  /** CONNACK 0 has gone out: what follows CONNECT may be read. */
  opened(session: Session): void {
    if (this.state !== 'connecting') return
    this.state = 'open'
    this.session = session
    this.intake = new PublishIntake(session, this, this.host, this.acks)
    this.release(HOLD_CONNECTING)
  }

  /** Sends a CONNACK that refuses, and closes [MQTT-3.2.2-5]. */
  refuse(returnCode: number, reason: CloseReason): void {
    this.outbox.write(encodeConnack(returnCode))
    this.closeGently(reason)
  }

  /** Closes at once. The client's will is published unless it has said goodbye. */
  close(reason: CloseReason): void {
    this.note(reason)
    this.framer.end()
    this.acks.end()
    this.socket.destroy()
    this.countHoard()
  }

  /** Closes after what has been written so far has left, or at the next sweep's time-out. */
  closeGently(reason: CloseReason): void {
    this.note(reason)
    this.framer.end()
    this.acks.end()
    this.outbox.flush()
    this.outbox.end()
    this.state = 'closed'
    this.socket.end(() => this.socket.destroy())
  }

  /** Called now and then: time-outs by the monotonic clock. */
  sweep(nowMs: number): void {
    const { life, state } = this
    if (state === 'closed') {
      if (life.mayBeDropped(nowMs)) this.socket.destroy()
      return
    }
    // Between CONNECT and CONNACK it is the client that waits.
    const silent = state === 'open' && this.holds === 0 ? life.tooSilent(nowMs) : null
    const overdue =
      (state === 'connect' ? life.lateConnect(nowMs) : silent) ?? life.tooSlow(this.outbox.isBehind, nowMs)
    if (overdue !== null) this.close(overdue)
  }

  // ---- reading

  private onChunk(chunk: Buffer, end: number): void {
    this.receivedBytes += end
    this.host.publishPath.timestampMs = this.host.clock.wallMs()
    this.framer.push(chunk, end)
    this.afterReading()
  }

  private afterReading(): void {
    const unfinished = this.countHoard()
    if (this.host.readMemory.isOver) this.host.relieveReadMemory()
    this.acks.release()
    this.life.chunkRead(this.framer.partialBytes + unfinished, this.host.clock.monotonicMs())
    if (this.acks.isFull) this.hold(HOLD_ACKS)
    if (this.socket.writableLength > this.host.limits.maxQueuedBytesPerConnection) this.hold(HOLD_OUTPUT)
  }

  /** @returns what the stream below has received, and not handed on. */
  private countHoard(): number {
    const { hoarding } = this
    if (hoarding === null) return 0
    const now = hoarding.destroyed ? 0 : hoarding.heldBytes
    this.host.readMemory.changed(now - this.hoarded)
    this.hoarded = now
    return hoarding.unfinishedBytes
  }

  onPacket(buffer: Buffer, start: number, bodyStart: number, end: number): boolean {
    const first = buffer[start]
    if (first >> 4 === 3 && this.intake !== null) {
      if (!this.intake.publish(buffer, first, bodyStart, end)) return false
    } else takeControlPacket(this, this.host, buffer, start, bodyStart, end)
    this.life.packet()
    return true
  }

  onViolation(problem: string, limit?: 'packet size' | 'handshakes'): void {
    this.acks.release()
    // Before CONNECT a smaller limit holds that is no matter of configuration.
    this.close(violation(problem, limit === undefined || this.state === 'connect' ? undefined : KEY_OF[limit]))
  }

  /** CONNECT is well formed: nothing more is read until CONNACK has gone out. */
  onConnect(connect: ConnectPacket): void {
    this.connectPacket = connect
    this.state = 'connecting'
    this.framer.protocolLevel = connect.protocolLevel
    this.framer.maxPacketBytes = this.host.limits.maxPacketBytes
    this.life.setKeepalive(connect.keepaliveSeconds)
    this.hold(HOLD_CONNECTING)
  }

  onPubrel(packetId: number): void {
    this.intake?.release(packetId)
  }

  /** DISCONNECT: nothing may follow [MQTT-3.14.4-2]. */
  onDisconnect(): void {
    this.note(CLIENT_DISCONNECTED)
    this.framer.end()
  }

  // ---- holding back

  holdUntil(room: Promise<void>): void {
    this.hold(HOLD_NO_ROOM)
    void room.then(() => this.release(HOLD_NO_ROOM))
  }

  /** What follows may depend on the subscription: it waits until that is made. */
  holdUntilSubscribed(subscribe: () => Promise<void>): void {
    this.hold(HOLD_SUBSCRIBE)
    subscribe().then(
      () => this.release(HOLD_SUBSCRIBE),
      (error: Error) => this.close(fault(error.message)),
    )
  }

  receiveFromNode(payload: Buffer): Promise<void> | null {
    const { nodes } = this.host
    if (nodes === null) return null
    if (this.nodeLink === null) {
      this.nodeLink = nodes.open({
        send: (bytes) => this.outbox.write(encodeForNode(nodes.downTopic, bytes)),
        mayBring: (origin) => this.session !== null && this.host.mayPublish(this.session, ORIGIN_TOPIC_PREFIX + origin),
        admitted: () => {
          this.framer.maxPacketBytes = nodes.maxFrameBytes
        },
        close: (reason) => this.closeGently(fault(reason)),
      })
    }
    return this.nodeLink.receive(payload)
  }

  onDenied(mqttTopic: string): void {
    this.host.denied(this, mqttTopic)
  }

  stopReading(reason: string): void {
    this.note(fault(reason))
    this.framer.end()
  }

  /** The access rules have changed: what was allowed is asked again. */
  forgetPermissions(): void {
    this.intake?.forgetPermissions()
    this.nodeLink?.accessChanged()
  }

  private hold(reason: number): void {
    if (this.holds === 0) this.socket.pause()
    this.holds |= reason
  }

  private release(reason: number): void {
    if ((this.holds & reason) === 0 || this.state === 'closed') return
    this.holds &= ~reason
    if (this.holds !== 0) return
    this.life.excuse(this.host.clock.monotonicMs())
    this.host.publishPath.timestampMs = this.host.clock.wallMs()
    this.framer.resume()
    this.afterReading()
    if (this.holds === 0) this.socket.resume()
  }

  // ---- writing

  writeAcks(bytes: Buffer): void {
    this.outbox.write(bytes)
    if ((this.holds & HOLD_ACKS) !== 0 && !this.acks.isFull) this.release(HOLD_ACKS)
  }

  ackFailed(commit: Commit): void {
    this.closeGently(fault(commit.error?.message ?? 'a commit failed'))
  }

  gathered(outbox: Outbox): void {
    this.host.schedule(outbox)
  }

  overflowed(): void {
    if (this.host.limits.onQueueFull === 'disconnect') this.close(TOO_SLOW)
    else this.host.dropping(this)
  }

  drained(): void {
    this.release(HOLD_OUTPUT)
    this.host.drained(this)
  }

  private note(reason: CloseReason): void {
    if (this.closeReason === CONNECTION_LOST) this.closeReason = reason
  }

  private onSocketClosed(): void {
    this.state = 'closed'
    this.framer.end()
    this.countHoard()
    this.acks.end()
    this.outbox.end()
    this.nodeLink?.end()
    this.host.closed(this, this.closeReason)
  }
}
