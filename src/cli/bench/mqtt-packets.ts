// The few MQTT 3.1.1 packets a load generator sends, encoded ahead of time so that measuring does not include encoding.

export const CONNACK = 0x20
export const PUBACK = 0x40

/** CONNECT with a clean session and without keepalive. */
export function encodeConnect(clientId: string): Buffer {
  const variableHeader = Buffer.from([0, 4, ...Buffer.from('MQTT'), 4, 0x02, 0, 0])
  return frame(0x10, [variableHeader, lengthPrefixed(clientId)])
}

/** PUBLISH with QoS 0 (no packet identifier) or 1. */
export function encodePublish(mqttTopic: string, payload: Uint8Array, qos: 0 | 1, packetId: number): Buffer {
  const identifier = qos === 0 ? Buffer.alloc(0) : Buffer.from([packetId >> 8, packetId & 0xff])
  return frame(0x30 | (qos << 1), [lengthPrefixed(mqttTopic), identifier, payload])
}

/** SUBSCRIBE to one filter, with packet identifier 1. */
export function encodeSubscribe(filter: string, qos: 0 | 1): Buffer {
  return frame(0x82, [Buffer.from([0, 1]), lengthPrefixed(filter), Buffer.from([qos])])
}

function lengthPrefixed(text: string): Buffer {
  const bytes = Buffer.from(text)
  return Buffer.concat([Buffer.from([bytes.length >> 8, bytes.length & 0xff]), bytes])
}

/** Fixed header [MQTT-2.2]: type and flags, then the remaining length, seven bits a byte, least significant first. */
function frame(typeAndFlags: number, parts: readonly Uint8Array[]): Buffer {
  let remaining = parts.reduce((sum, part) => sum + part.length, 0)
  const header = [typeAndFlags]
  do {
    header.push((remaining & 0x7f) | (remaining > 0x7f ? 0x80 : 0))
    remaining >>= 7
  } while (remaining > 0)
  return Buffer.concat([Buffer.from(header), ...parts])
}
