// The messages of the serial protocol and the items they are made of. Grammar: README.md.

import type { Item } from './cbor-items.js'

export const PROTOCOL_VERSION = 1
export const MAX_DEVICE_ID_BYTES = 64
const MAX_U32 = 0xffff_ffff
const RETAIN = 1

export const NACK = { gap: 1, busy: 2, topic: 3, tooLarge: 4, refused: 5, notAllowed: 6 } as const
export const REFUSED = { sayHello: 1, version: 2, device: 3 } as const

export type DeviceMessage =
  | {
      readonly type: 'hello'
      readonly version: number
      readonly device: string
      readonly epoch: number
      readonly sequence: number
    }
  | {
      readonly type: 'publish'
      readonly sequence: number
      readonly mqttTopic: string
      readonly payload: Uint8Array
      readonly retain: boolean
    }
  | { readonly type: 'void'; readonly sequence: number }
  | { readonly type: 'timeRequest'; readonly id: number }
  | { readonly type: 'log'; readonly level: number; readonly text: string }
  | { readonly type: 'ping' }

export type BridgeMessage =
  | {
      readonly type: 'welcome'
      readonly version: number
      readonly epoch: number
      readonly window: number
      readonly maxFrameBytes: number
    }
  | { readonly type: 'ack'; readonly sequence: number }
  | { readonly type: 'nack'; readonly sequence: number; readonly reason: number }
  | { readonly type: 'time'; readonly id: number; readonly wallMs: number }
  | { readonly type: 'pong' }
  | { readonly type: 'refused'; readonly reason: number }

/** The first items of bodies whose checksum does not include the session's epoch. */
export function isOutsideSession(type: Item | undefined): boolean {
  return type === 1 || type === 16 || type === 22
}

/** @returns null when the items make no message that a device sends. */
export function deviceMessageOf(items: readonly Item[]): DeviceMessage | null {
  const [type, a, b, c, d] = items
  const count = items.length
  if (type === 1 && count === 5 && isU32(a) && typeof b === 'string' && isU32(c) && isSequence(d)) {
    const bytes = Buffer.byteLength(b)
    if (bytes < 1 || bytes > MAX_DEVICE_ID_BYTES) return null
    return { type: 'hello', version: a, device: b, epoch: c, sequence: d }
  }
  if (type === 2 && count === 2 && isSequence(a)) return { type: 'void', sequence: a }
  if (type === 2 && (count === 4 || (count === 5 && d === RETAIN)))
    return isSequence(a) && typeof b === 'string' && c instanceof Uint8Array
      ? { type: 'publish', sequence: a, mqttTopic: b, payload: c, retain: count === 5 }
      : null
  if (type === 4 && count === 2 && isU32(a)) return { type: 'timeRequest', id: a }
  if (type === 5 && count === 3 && isU32(a) && a <= 3 && typeof b === 'string')
    return { type: 'log', level: a, text: b }
  return type === 6 && count === 1 ? { type: 'ping' } : null
}

export function itemsOf(message: DeviceMessage | BridgeMessage): Item[] {
  switch (message.type) {
    case 'hello':
      return [1, message.version, message.device, message.epoch, message.sequence]
    case 'publish':
      return [2, message.sequence, message.mqttTopic, message.payload, ...(message.retain ? [RETAIN] : [])]
    case 'void':
      return [2, message.sequence]
    case 'timeRequest':
      return [4, message.id]
    case 'log':
      return [5, message.level, message.text]
    case 'ping':
      return [6]
    case 'welcome':
      return [16, message.version, message.epoch, message.window, message.maxFrameBytes]
    case 'ack':
      return [17, message.sequence]
    case 'nack':
      return [18, message.sequence, message.reason]
    case 'time':
      return [20, message.id, message.wallMs]
    case 'pong':
      return [21]
    case 'refused':
      return [22, message.reason]
  }
}

function isU32(item: Item | undefined): item is number {
  return typeof item === 'number' && item <= MAX_U32
}

/** From 1; 0 stands for "none yet". */
function isSequence(item: Item | undefined): item is number {
  return isU32(item) && item > 0
}
