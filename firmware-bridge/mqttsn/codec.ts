// MQTT-SN 1.2 on the wire, one message per datagram. Pure; the C side is ../c/sluice_mqttsn.c, and both pass ../vectors/mqttsn.json.
//
//   message      = length type fields              ; length counts itself
//   length       = u8, 2 to 255  |  0x01 u16       ; the second form for any length
//   advertise    = 00 gateway-id duration          ; gateway-id: u8, duration: u16, seconds
//   searchgw     = 01 radius                       ; u8
//   gwinfo       = 02 gateway-id address?
//   connect      = 04 flags 01 duration client-id  ; flags: will, clean session
//   connack      = 05 return-code
//   willtopicreq = 06            willtopic = 07 [flags topic]         ; flags: QoS, retain
//   willmsgreq   = 08            willmsg   = 09 bytes
//   register     = 0a topic-id message-id topic    ; u16 each
//   regack       = 0b topic-id message-id return-code
//   publish      = 0c flags topic-id message-id bytes
//   puback       = 0d topic-id message-id return-code
//   pubcomp      = 0e message-id      pubrec = 0f message-id      pubrel = 10 message-id
//   subscribe    = 12 flags message-id (topic | topic-id)             ; topic-id only for a predefined one
//   suback       = 13 flags topic-id message-id return-code
//   unsubscribe  = 14 flags message-id (topic | topic-id)
//   unsuback     = 15 message-id
//   pingreq      = 16 client-id?      pingresp = 17
//   disconnect   = 18 duration?
//   willtopicupd = 1a [flags topic]   willtopicresp = 1b return-code
//   willmsgupd   = 1c bytes           willmsgresp   = 1d return-code
//   forwarded    = length fe ctrl node-id message  ; length ends with node-id; forwarder.ts
//   flags        = DUP:1 QoS:2 retain:1 will:1 clean:1 topic-id-type:2   ; from the top bit; those a message has no use for are not looked at

import { isUtf8 } from 'node:buffer'
import type { SnMessage, SnQos, SubscribedTopic, TopicIdType, WillTopicFields } from './messages.js'

const CODES: { readonly [type in SnMessage['type']]: number } = {
  advertise: 0x00,
  searchgw: 0x01,
  gwinfo: 0x02,
  connect: 0x04,
  connack: 0x05,
  willtopicreq: 0x06,
  willtopic: 0x07,
  willmsgreq: 0x08,
  willmsg: 0x09,
  register: 0x0a,
  regack: 0x0b,
  publish: 0x0c,
  puback: 0x0d,
  pubcomp: 0x0e,
  pubrec: 0x0f,
  pubrel: 0x10,
  subscribe: 0x12,
  suback: 0x13,
  unsubscribe: 0x14,
  unsuback: 0x15,
  pingreq: 0x16,
  pingresp: 0x17,
  disconnect: 0x18,
  willtopicupd: 0x1a,
  willtopicresp: 0x1b,
  willmsgupd: 0x1c,
  willmsgresp: 0x1d,
}
const TYPES = new Map(Object.entries(CODES).map(([type, code]) => [code, type as SnMessage['type']]))
const TOPIC_ID_TYPES: readonly TopicIdType[] = ['normal', 'predefined', 'short']

const DUP = 0x80
const RETAIN = 0x10
const WILL = 0x08
const CLEAN = 0x04
export const PROTOCOL_ID = 1

/** Cuts the length off. @returns where type and fields begin, or null unless `bytes` is one message of just its length. */
export function bodyStart(bytes: Uint8Array): number | null {
  if (bytes.length < 2) return null
  if (bytes[0] !== 1) return bytes[0] === bytes.length ? 1 : null
  return bytes.length >= 4 && ((bytes[1] << 8) | bytes[2]) === bytes.length ? 3 : null
}

/** Puts the length in front of type and fields. */
export function withLength(code: number, ...fields: readonly Uint8Array[]): Buffer {
  const bytes = 2 + fields.reduce((sum, { length }) => sum + length, 0)
  const head = bytes < 256 ? [bytes, code] : [1, (bytes + 2) >> 8, (bytes + 2) & 0xff, code]
  return Buffer.concat([Buffer.from(head), ...fields])
}

/** @returns the message, its bytes as views; null for whatever is not of the grammar. */
export function decodeMessage(bytes: Buffer): SnMessage | null {
  const start = bodyStart(bytes)
  const type = start === null ? undefined : TYPES.get(bytes[start])
  if (start === null || type === undefined) return null
  const fields = new Fields(bytes.subarray(start + 1))
  const message = readFields(type, fields)
  return message === null || fields.failed || !fields.atEnd ? null : message
}

export function encodeMessage(message: SnMessage): Buffer {
  return withLength(CODES[message.type], ...fieldsOf(message))
}

/** Takes fields one after the other; past the end everything is 0 or empty and `failed` stays true. */
class Fields {
  failed = false
  private at = 0
  constructor(private readonly bytes: Buffer) {}

  get atEnd(): boolean {
    return this.at === this.bytes.length
  }
  u8(): number {
    if (this.at + 1 > this.bytes.length) return this.fail()
    return this.bytes[this.at++]
  }
  u16(): number {
    if (this.at + 2 > this.bytes.length) return this.fail()
    this.at += 2
    return this.bytes.readUInt16BE(this.at - 2)
  }
  rest(): Buffer {
    const rest = this.bytes.subarray(this.at)
    this.at = this.bytes.length
    return rest
  }
  /** What is left, as text of at least one character. */
  text(): string {
    const bytes = this.rest()
    if (bytes.length === 0 || !isUtf8(bytes) || bytes.includes(0)) this.fail()
    return bytes.toString()
  }
  private fail(): 0 {
    this.failed = true
    return 0
  }
}

function readFields(type: SnMessage['type'], fields: Fields): SnMessage | null {
  switch (type) {
    case 'advertise':
      return { type, gatewayId: fields.u8(), duration: fields.u16() }
    case 'searchgw':
      return { type, radius: fields.u8() }
    case 'gwinfo':
      return { type, gatewayId: fields.u8(), gatewayAddress: fields.rest() }
    case 'connect': {
      const flags = fields.u8()
      const [will, cleanSession] = [(flags & WILL) !== 0, (flags & CLEAN) !== 0]
      return { type, will, cleanSession, protocolId: fields.u8(), duration: fields.u16(), clientId: fields.text() }
    }
    case 'willtopicreq':
    case 'willmsgreq':
    case 'pingresp':
      return { type }
    case 'connack':
    case 'willtopicresp':
    case 'willmsgresp':
      return { type, returnCode: fields.u8() }
    case 'willtopic':
    case 'willtopicupd':
      return fields.atEnd ? { type, will: null } : readWillTopic(type, fields)
    case 'willmsg':
    case 'willmsgupd':
      return { type, payload: fields.rest() }
    case 'register':
      return { type, topicId: fields.u16(), messageId: fields.u16(), topicName: fields.text() }
    case 'regack':
    case 'puback':
      return { type, topicId: fields.u16(), messageId: fields.u16(), returnCode: fields.u8() }
    case 'publish':
      return readPublish(fields)
    case 'pubcomp':
    case 'pubrec':
    case 'pubrel':
    case 'unsuback':
      return { type, messageId: fields.u16() }
    case 'subscribe':
    case 'unsubscribe':
      return readSubscribe(type, fields)
    case 'suback': {
      const qos = qosOf(fields.u8())
      const rest = { topicId: fields.u16(), messageId: fields.u16(), returnCode: fields.u8() }
      return qos === -1 ? null : { type, qos, ...rest }
    }
    case 'pingreq':
      return { type, clientId: fields.atEnd ? null : fields.text() }
    case 'disconnect':
      return { type, duration: fields.atEnd ? null : fields.u16() }
  }
}

function readWillTopic(type: 'willtopic' | 'willtopicupd', fields: Fields): SnMessage | null {
  const flags = fields.u8()
  const qos = qosOf(flags)
  return qos === -1 ? null : { type, will: { qos, retain: (flags & RETAIN) !== 0, willTopic: fields.text() } }
}

function readPublish(fields: Fields): SnMessage | null {
  const flags = fields.u8()
  const topicIdType = TOPIC_ID_TYPES[flags & 3]
  if (topicIdType === undefined) return null
  const [dup, retain] = [(flags & DUP) !== 0, (flags & RETAIN) !== 0]
  const [topicId, messageId, payload] = [fields.u16(), fields.u16(), fields.rest()]
  return { type: 'publish', dup, qos: qosOf(flags), retain, topicIdType, topicId, messageId, payload }
}

function readSubscribe(type: 'subscribe' | 'unsubscribe', fields: Fields): SnMessage | null {
  const flags = fields.u8()
  const messageId = fields.u16()
  const qos = qosOf(flags)
  const topicIdType = TOPIC_ID_TYPES[flags & 3]
  if (topicIdType === undefined || qos === -1) return null
  const topic: SubscribedTopic =
    topicIdType === 'predefined' ? { topicIdType, topicId: fields.u16() } : { topicIdType, topicName: fields.text() }
  if (topicIdType === 'short' && 'topicName' in topic && Buffer.byteLength(topic.topicName) !== 2) return null
  return type === 'subscribe' ? { type, dup: (flags & DUP) !== 0, qos, messageId, topic } : { type, messageId, topic }
}

function fieldsOf(message: SnMessage): Uint8Array[] {
  switch (message.type) {
    case 'advertise':
      return [u8(message.gatewayId), u16(message.duration)]
    case 'searchgw':
      return [u8(message.radius)]
    case 'gwinfo':
      return [u8(message.gatewayId), message.gatewayAddress]
    case 'connect': {
      const flags = (message.will ? WILL : 0) | (message.cleanSession ? CLEAN : 0)
      return [u8(flags), u8(message.protocolId), u16(message.duration), Buffer.from(message.clientId)]
    }
    case 'willtopicreq':
    case 'willmsgreq':
    case 'pingresp':
      return []
    case 'connack':
    case 'willtopicresp':
    case 'willmsgresp':
      return [u8(message.returnCode)]
    case 'willtopic':
    case 'willtopicupd':
      return message.will === null ? [] : willFields(message.will)
    case 'willmsg':
    case 'willmsgupd':
      return [message.payload]
    case 'register':
      return [u16(message.topicId), u16(message.messageId), Buffer.from(message.topicName)]
    case 'regack':
    case 'puback':
      return [u16(message.topicId), u16(message.messageId), u8(message.returnCode)]
    case 'publish': {
      const flags = (message.dup ? DUP : 0) | qosBits(message.qos) | (message.retain ? RETAIN : 0)
      const head = u8(flags | TOPIC_ID_TYPES.indexOf(message.topicIdType))
      return [head, u16(message.topicId), u16(message.messageId), message.payload]
    }
    case 'pubcomp':
    case 'pubrec':
    case 'pubrel':
    case 'unsuback':
      return [u16(message.messageId)]
    case 'subscribe': {
      const flags = (message.dup ? DUP : 0) | qosBits(message.qos)
      return subscribeFields(flags, message.messageId, message.topic)
    }
    case 'unsubscribe':
      return subscribeFields(0, message.messageId, message.topic)
    case 'suback':
      return [u8(qosBits(message.qos)), u16(message.topicId), u16(message.messageId), u8(message.returnCode)]
    case 'pingreq':
      return message.clientId === null ? [] : [Buffer.from(message.clientId)]
    case 'disconnect':
      return message.duration === null ? [] : [u16(message.duration)]
  }
}

function willFields({ qos, retain, willTopic }: WillTopicFields): Uint8Array[] {
  return [u8(qosBits(qos) | (retain ? RETAIN : 0)), Buffer.from(willTopic)]
}

function subscribeFields(flags: number, messageId: number, topic: SubscribedTopic): Uint8Array[] {
  const name = topic.topicIdType === 'predefined' ? u16(topic.topicId) : Buffer.from(topic.topicName)
  return [u8(flags | TOPIC_ID_TYPES.indexOf(topic.topicIdType)), u16(messageId), name]
}

function qosOf(flags: number): SnQos {
  const bits = (flags >> 5) & 3
  return bits === 3 ? -1 : (bits as SnQos)
}

function qosBits(qos: SnQos): number {
  return (qos & 3) << 5
}

function u8(value: number): Uint8Array {
  return Uint8Array.of(value)
}

function u16(value: number): Uint8Array {
  return Uint8Array.of(value >> 8, value & 0xff)
}
