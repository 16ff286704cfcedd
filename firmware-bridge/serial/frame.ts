// A message as it goes over the line, and back: CBOR body, what proves it whole, COBS. Grammar: README.md.

import { isMacOf, MAC_BYTES, macOf, sessionKeyOf } from '../devices/mac.js'
import { type Item, readItems, writeItems } from './cbor-items.js'
import { cobsEncode } from './cobs.js'
import {
  type BridgeMessage,
  type DeviceMessage,
  type HelloMessage,
  isOutsideSession,
  itemsOf,
  type WelcomeMessage,
} from './messages.js'

const CRC_BYTES = 4
const COUNTER_BYTES = 4
const MAX_COUNTER = 0xffff_ffff
/** The last item of a hello or welcome with a proof, as it is encoded. */
const MAC_ITEM_BYTES = 1 + MAC_BYTES
const HELLO_LABEL = Buffer.from('sluice hello')
const WELCOME_LABEL = Buffer.from('sluice welcome')
const SESSION_LABEL = Buffer.from('sluice session')
const SIDES = { device: Buffer.from('d'), bridge: Buffer.from('b') } as const
const OTHER = { device: 'bridge', bridge: 'device' } as const
const TABLE = Int32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1
  return crc
})

export type OpenedFrame =
  | { readonly items: readonly Item[] }
  /** `replay`: it is good, but was here before. */
  | { readonly problem: 'damaged' | 'grammar' | 'replay' }

export interface SessionSecrets {
  readonly epoch: number
  /** From `sessionKey`; null for a session without authentication. */
  readonly key: Uint8Array | null
}

export const NO_SESSION: SessionSecrets = { epoch: 0, key: null }

/** Seals what one side of a session sends and opens what the other side does. */
export class FrameCodec {
  private sent = 0
  private received = 0

  constructor(
    private readonly side: 'device' | 'bridge',
    private readonly secrets: SessionSecrets,
  ) {}

  /** @returns the bytes for the line, delimiter included. */
  seal(message: DeviceMessage | BridgeMessage): Buffer {
    const items = itemsOf(message)
    const body = writeItems(items)
    const { epoch, key } = this.secrets
    if (isOutsideSession(items[0])) return cobsEncode(withCrc(body, 0))
    if (key === null) return cobsEncode(withCrc(body, epoch))
    const counter = u32(++this.sent)
    return cobsEncode(Buffer.concat([body, counter, macOf(key, SIDES[this.side], body, counter)]))
  }

  /** No number is used twice: from here on a new session is needed. */
  get isUsedUp(): boolean {
    return this.sent === MAX_COUNTER
  }

  /** @param content What the CobsReader found. Byte strings among the items are views into it. */
  open(content: Buffer): OpenedFrame {
    const { epoch, key } = this.secrets
    const outside = isOutsideSession(content[0])
    const withMac = key !== null && !outside
    const bodyBytes = content.length - (withMac ? COUNTER_BYTES + MAC_BYTES : CRC_BYTES)
    if (bodyBytes <= 0) return { problem: 'damaged' }
    const body = content.subarray(0, bodyBytes)
    if (!withMac) {
      if (checksum(body, outside ? 0 : epoch) !== content.readUInt32BE(body.length)) return { problem: 'damaged' }
    } else {
      const signed = content.subarray(0, content.length - MAC_BYTES)
      if (!isMacOf(content.subarray(signed.length), key, SIDES[OTHER[this.side]], signed)) return { problem: 'damaged' }
      const counter = content.readUInt32BE(body.length)
      if (counter <= this.received) return { problem: 'replay' }
      this.received = counter
    }
    const items = readItems(body)
    return items === null ? { problem: 'grammar' } : { items }
  }
}

/** @returns the hello with a proof that whoever sends it has the key. */
export function proveHello(hello: HelloMessage, nonce: Uint8Array, key: Uint8Array): HelloMessage {
  return { ...hello, proof: { nonce, mac: macOf(key, HELLO_LABEL, signedPart({ ...hello, proof: proofOf(nonce) })) } }
}

export function isProven(hello: HelloMessage, key: Uint8Array): boolean {
  return hello.proof !== undefined && isMacOf(hello.proof.mac, key, HELLO_LABEL, signedPart(hello))
}

/** The answer is to the device's nonce: one that was recorded before is no answer. */
export function proveWelcome(
  welcome: WelcomeMessage,
  nonce: Uint8Array,
  deviceNonce: Uint8Array,
  key: Uint8Array,
): WelcomeMessage {
  const signed = signedPart({ ...welcome, proof: proofOf(nonce) })
  return { ...welcome, proof: { nonce, mac: macOf(key, WELCOME_LABEL, deviceNonce, signed) } }
}

export function sessionKey(key: Uint8Array, deviceNonce: Uint8Array, nonce: Uint8Array, epoch: number): Buffer {
  return sessionKeyOf(key, SESSION_LABEL, deviceNonce, nonce, u32(epoch))
}

function proofOf(nonce: Uint8Array) {
  return { nonce, mac: Buffer.alloc(MAC_BYTES) }
}

/** The body without the MAC at its end. */
function signedPart(message: HelloMessage | WelcomeMessage): Buffer {
  const body = writeItems(itemsOf(message))
  return body.subarray(0, body.length - MAC_ITEM_BYTES)
}

function withCrc(body: Buffer, epoch: number): Buffer {
  return Buffer.concat([body, u32(checksum(body, epoch))])
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

function checksum(body: Uint8Array, epoch: number): number {
  let crc = -1
  for (let shift = 24; shift >= 0; shift -= 8) crc = step(crc, (epoch >>> shift) & 0xff)
  for (const byte of body) crc = step(crc, byte)
  return (crc ^ -1) >>> 0
}

function step(crc: number, byte: number): number {
  return (crc >>> 8) ^ TABLE[(crc ^ byte) & 0xff]
}
