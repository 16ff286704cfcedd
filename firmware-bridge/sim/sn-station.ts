// A simulated MQTT-SN client at QoS 1 with the radio it is on and the messages it publishes: one under way, sent again with DUP until it is acknowledged.

import { createSocket, type Socket } from 'node:dgram'
import { decodeMessage, encodeMessage, PROTOCOL_ID } from '../mqttsn/codec.js'
import { RETURN_CODE, type SnMessage } from '../mqttsn/messages.js'
import { DatagramNoise, type DatagramNoiseOptions } from './datagram-noise.js'
import type { SimulatedDevice } from './fleet.js'
import { Traffic } from './traffic.js'

const TOPIC = 'm'
const RETRY_MS = 500
const KEEPALIVE_SECONDS = 60
const MAX_ATTEMPTS = 5
const MAX_MESSAGE_ID = 65_535

export interface SnStationOptions extends Omit<DatagramNoiseOptions, 'deliver'> {
  readonly id: string
  readonly host: string
  readonly port: number
  /** Messages a second; 0 for as many as there is time for. */
  readonly rate: number
  readonly payloadBytes: number
}

interface UnderWay {
  readonly number: number
  readonly messageId: number
  readonly payload: Buffer
}

export class SnStation implements SimulatedDevice {
  readonly id: string
  readonly traffic: Traffic
  connected = false
  private readonly socket: Socket
  private readonly up: DatagramNoise
  private readonly down: DatagramNoise
  private topicId = 0
  private underWay: UnderWay | null = null
  private lastMessageId = 0
  private sentMs = Number.NEGATIVE_INFINITY
  private attempts = 0

  constructor(options: SnStationOptions) {
    const { id, host, port, rate, payloadBytes } = options
    this.id = id
    this.traffic = new Traffic(id, rate, payloadBytes, () => performance.now())
    this.socket = createSocket(host.includes(':') ? 'udp6' : 'udp4')
    this.up = new DatagramNoise({ ...options, deliver: (datagram) => this.socket.send(datagram, port, host) })
    this.down = new DatagramNoise({ ...options, deliver: (datagram) => this.receive(datagram) })
    this.socket.on('message', (datagram) => this.down.pass(datagram))
    this.socket.on('error', () => {})
  }

  get sentFrames(): number {
    return this.up.datagrams
  }
  get harmedFrames(): number {
    return this.up.harmed
  }

  poll(publishing: boolean): void {
    const { traffic } = this
    if (this.underWay === null && publishing && traffic.isDue()) {
      this.lastMessageId = (this.lastMessageId % MAX_MESSAGE_ID) + 1
      this.underWay = { messageId: this.lastMessageId, payload: traffic.payload(), number: traffic.taken() }
      this.again()
    }
    if (performance.now() - this.sentMs < RETRY_MS) return
    if (this.connected && this.topicId !== 0 && this.underWay === null) return
    this.sentMs = performance.now()
    this.attempts += 1
    if (this.attempts > MAX_ATTEMPTS) this.lost()
    if (!this.connected) this.connect()
    else if (this.topicId === 0) this.send({ type: 'register', topicId: 0, messageId: 1, topicName: TOPIC })
    else if (this.underWay !== null) this.publish(this.underWay, this.attempts > 1)
  }

  reset(remembers: boolean): void {
    this.lost()
    this.traffic.reset(remembers)
    if (!remembers) this.underWay = null
  }

  close(): void {
    this.socket.close()
  }

  private lost(): void {
    this.connected = false
    this.topicId = 0
    this.again()
  }

  /** Something new is sent: at once, and counted anew. */
  private again(): void {
    this.attempts = 0
    this.sentMs = Number.NEGATIVE_INFINITY
  }

  private connect(): void {
    this.send({
      type: 'connect',
      will: false,
      cleanSession: true,
      protocolId: PROTOCOL_ID,
      duration: KEEPALIVE_SECONDS,
      clientId: this.id,
    })
  }

  private publish({ messageId, payload }: UnderWay, dup: boolean): void {
    const { topicId } = this
    const same = { retain: false, topicIdType: 'normal', topicId, messageId, payload } as const
    this.send({ type: 'publish', dup, qos: 1, ...same })
  }

  private receive(datagram: Buffer): void {
    const message = decodeMessage(datagram)
    if (message === null) return
    if (message.type === 'connack' && message.returnCode === RETURN_CODE.accepted) this.connected = true
    else if (message.type === 'regack' && message.returnCode === RETURN_CODE.accepted) this.topicId = message.topicId
    else if (message.type === 'disconnect') this.lost()
    else if (message.type === 'puback') this.puback(message.messageId, message.returnCode)
    else return
    if (message.type !== 'puback') this.again()
  }

  private puback(messageId: number, returnCode: number): void {
    const { underWay } = this
    if (underWay === null || messageId !== underWay.messageId) return
    if (returnCode === RETURN_CODE.invalidTopicId) this.lost()
    else if (returnCode !== RETURN_CODE.congestion) {
      if (returnCode === RETURN_CODE.accepted) this.traffic.ackedUpTo(underWay.number)
      else this.traffic.refused(underWay.number)
      this.underWay = null
    }
  }

  private send(message: SnMessage): void {
    this.up.pass(encodeMessage(message))
  }
}
