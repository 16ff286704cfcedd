// A message as it goes over the line, and back: CBOR body, CRC-32C salted with the session's epoch, COBS. Grammar: README.md.

import { type Item, readItems, writeItems } from './cbor-items.js'
import { cobsEncode } from './cobs.js'
import { type BridgeMessage, type DeviceMessage, isOutsideSession, itemsOf } from './messages.js'

const CRC_BYTES = 4
const TABLE = Int32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1
  return crc
})

export type OpenedFrame = { readonly items: readonly Item[] } | { readonly problem: 'crc' | 'grammar' }

/** @returns the bytes for the line, delimiter included. */
export function sealFrame(message: DeviceMessage | BridgeMessage, epoch: number): Buffer {
  const items = itemsOf(message)
  const body = writeItems(items)
  const content = Buffer.alloc(body.length + CRC_BYTES)
  body.copy(content)
  content.writeUInt32BE(checksum(body, isOutsideSession(items[0]) ? 0 : epoch), body.length)
  return cobsEncode(content)
}

/** @param content What the CobsReader found. Byte strings among the items are views into it. */
export function openFrame(content: Buffer, epoch: number): OpenedFrame {
  if (content.length <= CRC_BYTES) return { problem: 'crc' }
  const body = content.subarray(0, content.length - CRC_BYTES)
  if (checksum(body, isOutsideSession(body[0]) ? 0 : epoch) !== content.readUInt32BE(body.length))
    return { problem: 'crc' }
  const items = readItems(body)
  return items === null ? { problem: 'grammar' } : { items }
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
