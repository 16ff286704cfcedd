// The packets this broker writes itself. Pure; MQTT 3.1.1 sections 2.2 and 3.

import type { Qos } from '../record/record.js'

export interface DeliveryFlags {
  readonly retain: boolean
  readonly dup: boolean
}

/** Size of the whole packet, header and all. */
export function publishSize(topicBytes: number, payloadBytes: number, qos: Qos): number {
  const remaining = 2 + topicBytes + (qos === 0 ? 0 : 2) + payloadBytes
  return 1 + remainingLengthSize(remaining) + remaining
}

/** Writes a PUBLISH with value[valueStart, valueEnd) as its payload; @returns the position after it. `target` must have room. */
export function writePublish(
  target: Buffer,
  at: number,
  topic: Uint8Array,
  value: Uint8Array,
  valueStart: number,
  valueEnd: number,
  qos: Qos,
  flags: DeliveryFlags,
  packetId: number,
): number {
  target[at++] = 0x30 | (qos << 1) | (flags.dup ? 8 : 0) | (flags.retain ? 1 : 0)
  at = writeRemainingLength(target, at, 2 + topic.length + (qos === 0 ? 0 : 2) + valueEnd - valueStart)
  target[at++] = topic.length >> 8
  target[at++] = topic.length
  target.set(topic, at)
  at += topic.length
  if (qos > 0) {
    target[at++] = packetId >> 8
    target[at++] = packetId
  }
  if (valueEnd > valueStart) target.set(value.subarray(valueStart, valueEnd), at)
  return at + valueEnd - valueStart
}

/** @param codes One per filter of the SUBSCRIBE: the granted QoS, or 0x80 for a refusal [MQTT-3.8.4-5]. */
export function encodeSuback(packetId: number, codes: readonly number[]): Buffer {
  const head = Buffer.alloc(8)
  head[0] = 0x90
  let at = writeRemainingLength(head, 1, 2 + codes.length)
  at = head.writeUInt16BE(packetId, at)
  return Buffer.concat([head.subarray(0, at), Buffer.from(codes)])
}

export function encodeUnsuback(packetId: number): Buffer {
  return Buffer.from([0xb0, 2, packetId >> 8, packetId & 0xff])
}

export function encodePubrel(packetId: number): Buffer {
  return Buffer.from([0x62, 2, packetId >> 8, packetId & 0xff])
}

export function encodeConnack(returnCode: number): Buffer {
  return Buffer.from([0x20, 2, 0, returnCode])
}

export const PINGRESP = Buffer.from([0xd0, 0])

function remainingLengthSize(length: number): number {
  return length < 0x80 ? 1 : length < 0x4000 ? 2 : length < 0x200000 ? 3 : 4
}

function writeRemainingLength(target: Buffer, at: number, length: number): number {
  while (length >= 0x80) {
    target[at++] = (length & 0x7f) | 0x80
    length >>= 7
  }
  target[at++] = length
  return at
}
