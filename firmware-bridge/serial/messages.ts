// The messages of the serial protocol and the items they are made of. Grammar: README.md.

import type { DeviceReport } from '../devices/device-registry.js'
import { MAC_BYTES, NONCE_BYTES } from '../devices/mac.js'
import type { Item } from './cbor-items.js'

export const PROTOCOL_VERSION = 1
export const MAX_DEVICE_ID_BYTES = 64
const MAX_U32 = 0xffff_ffff
const MAX_LOG_LEVEL = 3
const RETAIN = 1
const MAX_PERCENT = 100

export const NACK = { gap: 1, busy: 2, topic: 3, tooLarge: 4, refused: 5, notAllowed: 6 } as const
export const REFUSED = { sayHello: 1, version: 2, device: 3, key: 4 } as const
/** What `subscribed` says besides the granted QoS, 0 or 1, and `UNSUBSCRIBED`. */
export const SUBSCRIBE_REFUSED = { busy: 0x82, topic: 0x83, limit: 0x84, notAllowed: 0x86 } as const
export const UNSUBSCRIBED = 0x40

export interface HelloMessage {
  readonly type: 'hello'
  readonly version: number
  readonly device: string
  readonly epoch: number
  readonly sequence: number
  /** Messages to the device that may be unacknowledged; 0 for a device that takes none. */
  readonly receiveWindow: number
  /** Longest content of a frame that it takes. */
  readonly maxFrameBytes: number
  /** Of a device with a key. */
  readonly proof?: Proof
}

/** A nonce, and a MAC over it and all that stands before. */
export interface Proof {
  readonly nonce: Uint8Array
  readonly mac: Uint8Array
}

export interface WelcomeMessage {
  readonly type: 'welcome'
  readonly version: number
  readonly epoch: number
  readonly window: number
  readonly maxFrameBytes: number
  readonly proof?: Proof
}

export type SessionMessage =
  | {
      readonly type: 'publish'
      readonly sequence: number
      readonly mqttTopic: string
      readonly payload: Uint8Array
      readonly retain: boolean
    }
  | { readonly type: 'void'; readonly sequence: number }
  | { readonly type: 'subscribe'; readonly id: number; readonly filter: string; readonly qos: 0 | 1 }
  | { readonly type: 'unsubscribe'; readonly id: number; readonly filter: string }
  | { readonly type: 'timeRequest'; readonly id: number }
  | { readonly type: 'log'; readonly level: number; readonly text: string }
  | { readonly type: 'ping' }
  | { readonly type: 'received'; readonly number: number }
  | { readonly type: 'report'; readonly report: DeviceReport }

export type DeviceMessage = HelloMessage | SessionMessage

export type BridgeMessage =
  | WelcomeMessage
  | { readonly type: 'ack'; readonly sequence: number }
  | { readonly type: 'nack'; readonly sequence: number; readonly reason: number }
  | {
      readonly type: 'message'
      /** 0 stands for one that is not acknowledged. */
      readonly number: number
      readonly mqttTopic: string
      readonly payload: Uint8Array
      readonly retain: boolean
    }
  | { readonly type: 'time'; readonly id: number; readonly wallMs: number }
  | { readonly type: 'pong' }
  | { readonly type: 'refused'; readonly reason: number }
  | { readonly type: 'subscribed'; readonly id: number; readonly result: number }

/** The first items of bodies that go without the session's epoch and key. */
export function isOutsideSession(type: Item | undefined): boolean {
  return type === 1 || type === 16 || type === 22
}

/** @returns null when the items make no message that a device sends. */
export function deviceMessageOf(items: readonly Item[]): DeviceMessage | null {
  const [type, a, b, c, d] = items
  const count = items.length
  switch (type) {
    case 1:
      return helloOf(items)
    case 2:
      return publishOf(items)
    case 3:
      if (!isU32(a) || typeof b !== 'string') return null
      if (count === 3) return { type: 'unsubscribe', id: a, filter: b }
      return count === 4 && (c === 0 || c === 1) ? { type: 'subscribe', id: a, filter: b, qos: c } : null
    case 4:
      return count === 2 && isU32(a) ? { type: 'timeRequest', id: a } : null
    case 5:
      return count === 3 && isUpTo(a, MAX_LOG_LEVEL) && typeof b === 'string'
        ? { type: 'log', level: a, text: b }
        : null
    case 6:
      return count === 1 ? { type: 'ping' } : null
    case 7:
      return count === 2 && isU32(a) ? { type: 'received', number: a } : null
    case 8:
      return d === undefined && isU32(a) && isU32(b) && isU32(c) ? reportOf(a, b, c) : null
    default:
      return null
  }
}

function helloOf(items: readonly Item[]): HelloMessage | null {
  const [, version, device, epoch, sequence, receiveWindow, maxFrameBytes, nonce, mac] = items
  if (!isU32(version) || typeof device !== 'string' || !isU32(epoch) || !isSequence(sequence)) return null
  if (!isU32(receiveWindow) || !isU32(maxFrameBytes)) return null
  const bytes = Buffer.byteLength(device)
  if (bytes < 1 || bytes > MAX_DEVICE_ID_BYTES) return null
  const hello = { type: 'hello', version, device, epoch, sequence, receiveWindow, maxFrameBytes } as const
  if (items.length === 7) return hello
  return items.length === 9 && isBytes(nonce, NONCE_BYTES) && isBytes(mac, MAC_BYTES)
    ? { ...hello, proof: { nonce, mac } }
    : null
}

function publishOf([, sequence, mqttTopic, payload, flags, ...rest]: readonly Item[]): DeviceMessage | null {
  if (!isSequence(sequence) || rest.length > 0) return null
  if (mqttTopic === undefined) return { type: 'void', sequence }
  if (typeof mqttTopic !== 'string' || !(payload instanceof Uint8Array)) return null
  if (flags !== undefined && flags !== RETAIN) return null
  return { type: 'publish', sequence, mqttTopic, payload, retain: flags === RETAIN }
}

/** Percent and signal come as one more than they are, 0 stands for "not known". */
function reportOf(percentPlus1: number, millivolts: number, minusDbmPlus1: number): DeviceMessage | null {
  if (percentPlus1 > MAX_PERCENT + 1) return null
  const report = {
    ...(percentPlus1 > 0 && { batteryPercent: percentPlus1 - 1 }),
    ...(millivolts > 0 && { batteryMillivolts: millivolts }),
    ...(minusDbmPlus1 > 0 && { signalDbm: 1 - minusDbmPlus1 }),
  }
  return { type: 'report', report }
}

export function itemsOf(message: DeviceMessage | BridgeMessage): Item[] {
  switch (message.type) {
    case 'hello': {
      const { version, device, epoch, sequence, receiveWindow, maxFrameBytes } = message
      return [1, version, device, epoch, sequence, receiveWindow, maxFrameBytes, ...proofItems(message.proof)]
    }
    case 'publish':
      return [2, message.sequence, message.mqttTopic, message.payload, ...(message.retain ? [RETAIN] : [])]
    case 'void':
      return [2, message.sequence]
    case 'subscribe':
      return [3, message.id, message.filter, message.qos]
    case 'unsubscribe':
      return [3, message.id, message.filter]
    case 'timeRequest':
      return [4, message.id]
    case 'log':
      return [5, message.level, message.text]
    case 'ping':
      return [6]
    case 'received':
      return [7, message.number]
    case 'report': {
      const { batteryPercent = -1, batteryMillivolts = 0, signalDbm = 1 } = message.report
      return [8, batteryPercent + 1, batteryMillivolts, 1 - signalDbm]
    }
    case 'welcome': {
      const { version, epoch, window, maxFrameBytes } = message
      return [16, version, epoch, window, maxFrameBytes, ...proofItems(message.proof)]
    }
    case 'ack':
      return [17, message.sequence]
    case 'nack':
      return [18, message.sequence, message.reason]
    case 'message':
      return [19, message.number, message.mqttTopic, message.payload, ...(message.retain ? [RETAIN] : [])]
    case 'time':
      return [20, message.id, message.wallMs]
    case 'pong':
      return [21]
    case 'refused':
      return [22, message.reason]
    case 'subscribed':
      return [23, message.id, message.result]
  }
}

function proofItems(proof: Proof | undefined): Item[] {
  return proof === undefined ? [] : [proof.nonce, proof.mac]
}

function isBytes(item: Item | undefined, length: number): item is Uint8Array {
  return item instanceof Uint8Array && item.length === length
}

function isUpTo(item: Item | undefined, max: number): item is number {
  return typeof item === 'number' && item <= max
}

function isU32(item: Item | undefined): item is number {
  return isUpTo(item, MAX_U32)
}

/** From 1; 0 stands for "none yet". */
function isSequence(item: Item | undefined): item is number {
  return isU32(item) && item > 0
}
