// Forwarder encapsulation (MQTT-SN 1.2, section 5.5): a forwarder between a radio and this gateway names the wireless node a message is from
// or for. `ctrl` holds the broadcast radius in its two low bits.
//
//   forwarded = length 0xfe ctrl node-id message       ; length: u8, up to and with node-id; message: with a length of its own

const FORWARDED = 0xfe
const HEAD_BYTES = 3
/** Longest wireless node id taken, bytes, inclusive. */
export const MAX_NODE_ID_BYTES = 32

export interface Forwarded {
  /** Views. */
  readonly nodeId: Buffer
  readonly message: Buffer
}

/** @returns null for what is not encapsulated, and 'malformed' for what says it is and cannot be read. */
export function unwrapForwarded(datagram: Buffer): Forwarded | 'malformed' | null {
  if (datagram.length < 2 || datagram[1] !== FORWARDED || datagram[0] === 1) return null
  const length = datagram[0]
  const nodeIdBytes = length - HEAD_BYTES
  if (nodeIdBytes < 1 || nodeIdBytes > MAX_NODE_ID_BYTES || length >= datagram.length) return 'malformed'
  const message = datagram.subarray(length)
  // No forwarder behind a forwarder.
  if (message[1] === FORWARDED && message[0] !== 1) return 'malformed'
  return { nodeId: datagram.subarray(HEAD_BYTES, length), message }
}

export function wrapForwarded(nodeId: Uint8Array, message: Uint8Array): Buffer {
  return Buffer.concat([Buffer.of(HEAD_BYTES + nodeId.length, FORWARDED, 0), nodeId, message])
}
