// A connection of an upstream over MQTT 3.1.1, for the targets that use one: mqtt.js logs in, keeps the connection alive and reads. The two packets
// there are most of pass it by: PUBLISH is written straight to the socket (packet-sender.ts), PUBACK is taken out of what comes (puback-tap.ts).
//
// A client serves one connection and never reconnects: its own replay sends one message at a time and its callbacks stay silent after a
// plain close.

import type { Socket } from 'node:net'
import mqtt, { type IClientOptions, type IPublishPacket, type MqttClient, type Packet } from 'mqtt'
import type { Clock } from '../../base/clock.js'
import { SluiceError } from '../../base/errors.js'
import { type Downlink, DownlinkFlow } from '../downlink.js'
import { LOWEST_PACKET_ID, PacketSender } from './packet-sender.js'
import { PubackTap } from './puback-tap.js'
import type { Packets } from './publish-encoder.js'

/** Bytes that may wait for the network before `hasRoom` turns false. */
const MAX_BUFFERED_BYTES = 256 * 1024
/** How long a goodbye may take before the connection is broken. */
const END_TIMEOUT_MS = 1_000
/** What a socket says when the other side has closed it before it had read everything. */
const HANG_UPS = ['ECONNRESET', 'EPIPE']
/** A whole packet but for its packet identifier [MQTT-3.4]. */
const PUBACK = 0x40_02_00_00
/** Topic filters in one SUBSCRIBE: AWS IoT takes no more. */
const MAX_FILTERS = 8
const SESSION_LOST = {
  reason: 'it was set up anew or does not keep sessions for so long: what was sent down meanwhile is gone',
  see: '"sluice upstreams rewind", if what it had acknowledged is gone as well',
}

export interface MqttConnectionEvents {
  /** CONNACK 0 has come. */
  onConnected(): void
  /** The broker has acknowledged all that was published in this slot. */
  onAck(slot: number): void
  /** The broker has acknowledged something. */
  onProgress(): void
  /** Anything else that is not the downlink's. */
  onPacket(packet: Packet): void
  onRoom(): void
  /** Once, and nothing after it. `hungUp`: the broker has closed it. */
  onDown(reason: SluiceError, hungUp: boolean): void
}

export class MqttConnection {
  private readonly client: MqttClient
  private readonly sender: PacketSender
  private readonly flow: DownlinkFlow | undefined
  private over = false
  private cancelEndTimer = (): void => {}

  constructor(
    options: IClientOptions,
    dial: () => Socket,
    private readonly events: MqttConnectionEvents,
    private readonly clock: Clock,
    downlink?: Downlink,
    packetsPerSlot = 1,
  ) {
    const socket = dial().setNoDelay(true)
    this.client = new mqtt.MqttClient(() => this.tapped(socket), options)
    const { client } = this
    this.sender = new PacketSender(socket, packetsPerSlot)
    socket.on('drain', () => {
      if (!this.over) events.onRoom()
    })
    const flow = downlink && this.openDownlink(downlink)
    client.on('connect', ({ sessionPresent }) => {
      if (this.over) return
      if (downlink) this.subscribe(downlink, sessionPresent)
      events.onConnected()
    })
    client.on('packetreceive', (packet) => {
      if (this.over) return
      if (packet.cmd === 'publish' && flow && takenBy(flow, packet)) return
      events.onPacket(packet)
    })
    this.flow = flow
    client.on('error', (error: Error & { code?: unknown }) =>
      this.finish(connectionError(error), HANG_UPS.includes(String(error.code))),
    )
    client.on('close', () => this.finish(new SluiceError('NOT_REACHABLE', 'the broker closed the connection'), true))
  }

  get hasRoom(): boolean {
    return this.client.stream.writableLength < MAX_BUFFERED_BYTES
  }

  publish(packets: Packets, slot: number): void {
    this.sender.send(packets, slot)
  }

  flush(): void {
    this.sender.flush()
  }

  /** For what is said now and then beside the records. Not said again when the connection is lost. */
  publishRetained(mqttTopic: string, payload: Buffer): void {
    this.sender.flush()
    this.client.publish(mqttTopic, payload, { qos: 1, retain: true }, () => {})
  }

  end(): void {
    if (this.over) return
    this.sender.flush()
    const ended = () => this.reset(new SluiceError('SHUTTING_DOWN', 'ended by this side'))
    this.cancelEndTimer = this.clock.after(END_TIMEOUT_MS, ended)
    this.client.end(false, {}, ended)
  }

  reset(reason: SluiceError): void {
    this.finish(reason, false)
  }

  /** What mqtt.js reads of the socket it reads behind the tap. */
  private tapped(socket: Socket): Socket {
    const tap = new PubackTap({
      lowestPacketId: LOWEST_PACKET_ID,
      onPuback: (packetId) => {
        const slot = this.sender.acked(packetId)
        if (slot !== null && !this.over) this.events.onAck(slot)
      },
      onAlive: () => {
        this.client.reschedulePing()
        if (!this.over) this.events.onProgress()
      },
    })
    const pipe = socket.pipe.bind(socket)
    socket.pipe = (destination, options) => {
      pipe(tap)
      return tap.pipe(destination, options)
    }
    return socket
  }

  private openDownlink(downlink: Downlink): DownlinkFlow {
    const { client } = this
    const flow = new DownlinkFlow(downlink, (packetIds) => {
      const acks = Buffer.alloc(4 * packetIds.length)
      for (const [i, id] of packetIds.entries()) acks.writeUInt32BE(PUBACK + id, 4 * i)
      client.stream.write(acks)
    })
    // Its callback lets mqtt.js read on.
    client.handleMessage = (_packet, readOn) => flow.whenRoom(() => readOn())
    return flow
  }

  /** A session that the broker has kept has its subscriptions; to subscribe again would bring every retained message again. */
  private subscribe(downlink: Downlink, sessionPresent: boolean): void {
    const { filters } = downlink
    const { subscribed, onSubscribed, logger } = downlink.options
    const known = sessionPresent ? subscribed() : []
    if (!sessionPresent && subscribed().length > 0)
      logger.warn('the upstream has lost the session of this node', SESSION_LOST)
    const missing = filters.filter((filter) => !known.includes(filter))
    const old = known.filter((filter) => !filters.includes(filter))
    if (old.length > 0) this.client.unsubscribe(old)
    if (missing.length === 0) {
      if (old.length > 0) onSubscribed(filters)
      return
    }
    let left = missing.length
    for (let i = 0; i < missing.length; i += MAX_FILTERS) {
      const some = missing.slice(i, i + MAX_FILTERS)
      this.client.subscribe(some, { qos: 1 }, (error) => {
        if (this.over) return
        if (error)
          logger.warn('the upstream refuses a subscription', { filters: some.join(' '), reason: error.message })
        else if ((left -= some.length) === 0) onSubscribed(filters)
      })
    }
  }

  private finish(reason: SluiceError, hungUp: boolean): void {
    if (this.over) return
    this.over = true
    this.flow?.end()
    this.cancelEndTimer()
    this.client.end(true)
    // A client that is already ending ignores end(): its stream must go all the same.
    this.client.stream.destroy()
    this.events.onDown(reason, hungUp)
  }
}

/** mqtt.js would acknowledge a message before it is durable; of one that it takes for QoS 0 it does not. */
function takenBy(flow: DownlinkFlow, packet: IPublishPacket): boolean {
  const { topic, qos, retain, messageId = 0 } = packet
  const payload = Buffer.from(packet.payload as Buffer)
  if (!flow.take({ mqttTopic: topic, payload, qos, retain, packetId: messageId })) return false
  packet.qos = 0
  return true
}

function connectionError(error: Error & { code?: unknown }): SluiceError {
  const unauthorized = error.code === 4 || error.code === 5
  // An AggregateError, one attempt per address of a name, has no message of its own.
  const message = error.message === '' ? String(error.code ?? error.name) : error.message
  return new SluiceError(unauthorized ? 'UNAUTHORIZED' : 'NOT_REACHABLE', message, {}, error)
}
