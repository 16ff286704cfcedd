// Packets that no client may send, and packets with a byte or a length changed, which may have become other valid ones. Each is whole as a frame:
// half of a packet tells nothing, since a broker waits for the rest.

import type { SeededRandom } from '../../helpers/seeded-random.js'
import { packet, text, u16 } from '../../mqtt/raw-client.js'

const FLAGS = {
  user: 0x80,
  password: 0x40,
  willRetain: 0x20,
  willQos2: 0x10,
  willQos1: 0x08,
  will: 0x04,
  clean: 0x02,
  reserved: 0x01,
}

/** Wrong in one place each. */
export const BROKEN: Readonly<Record<string, Buffer>> = {
  'DUP at QoS 0': packet(0x38, 'x', Buffer.from('p')),
  'QoS 3': packet(0x36, 'x', u16(1)),
  'no topic': packet(0x30, ''),
  'a wildcard in a topic': packet(0x30, 'x/#'),
  'U+0000 in a topic': packet(0x30, 'x\0'),
  'a surrogate in a topic': packet(0x30, [0, 3, 0xed, 0xa0, 0x80]),
  'ill-formed UTF-8 in a topic': packet(0x30, [0, 2, 0xc3, 0x28]),
  'PUBLISH with identifier 0': packet(0x32, 'x', u16(0)),
  'PUBLISH without identifier': packet(0x32, 'x'),
  'a topic longer than its packet': packet(0x30, [0, 9], [0x78]),
  'an empty PUBLISH': packet(0x30),
  'type 0': packet(0x00),
  'type 15': packet(0xf0),
  'CONNACK from a client': packet(0x20, [0, 0]),
  'SUBACK from a client': packet(0x90, u16(1), [0]),
  'UNSUBACK from a client': packet(0xb0, u16(1)),
  'PINGRESP from a client': packet(0xd0),
  'a second CONNECT': packet(0x10, 'MQTT', [4, 2], u16(0), 'x'),
  'PUBACK with flags': packet(0x42, u16(9)),
  'PUBREC with flags': packet(0x52, u16(9)),
  'PUBREL without flags': packet(0x60, u16(9)),
  'PUBCOMP with flags': packet(0x72, u16(9)),
  'a short PUBACK': packet(0x40, [1]),
  'a long PUBACK': packet(0x40, u16(9), [0]),
  'a long PUBREC': packet(0x50, u16(9), [0]),
  'a long PUBREL': packet(0x62, u16(9), [0]),
  'a long PUBCOMP': packet(0x70, u16(9), [0]),
  'PUBACK with identifier 0': packet(0x40, u16(0)),
  'PUBREL with identifier 0': packet(0x62, u16(0)),
  'SUBSCRIBE without flags': packet(0x80, u16(9), 'x', [0]),
  'SUBSCRIBE of nothing': packet(0x82, u16(9)),
  'SUBSCRIBE with identifier 0': packet(0x82, u16(0), 'x', [0]),
  'SUBSCRIBE at QoS 3': packet(0x82, u16(9), 'x', [3]),
  'SUBSCRIBE with reserved bits': packet(0x82, u16(9), 'x', [0x11]),
  'SUBSCRIBE without QoS': packet(0x82, u16(9), 'x'),
  'an empty filter': packet(0x82, u16(9), '', [0]),
  '# that is not last': packet(0x82, u16(9), '#/x', [0]),
  '# in a level': packet(0x82, u16(9), 'x#', [0]),
  '+ in a level': packet(0x82, u16(9), 'x+/x', [0]),
  'U+0000 in a filter': packet(0x82, u16(9), 'x\0', [0]),
  'ill-formed UTF-8 in a filter': packet(0x82, u16(9), [0, 2, 0xc3, 0x28], [0]),
  'UNSUBSCRIBE without flags': packet(0xa0, u16(9), 'x'),
  'UNSUBSCRIBE of nothing': packet(0xa2, u16(9)),
  'UNSUBSCRIBE with identifier 0': packet(0xa2, u16(0), 'x'),
  'UNSUBSCRIBE of an empty filter': packet(0xa2, u16(9), ''),
  'UNSUBSCRIBE of a bad filter': packet(0xa2, u16(9), 'x#'),
  'PINGREQ with flags': packet(0xc1),
  'PINGREQ with a body': packet(0xc0, [0]),
  'DISCONNECT with flags': packet(0xe1),
  'DISCONNECT with a body': packet(0xe0, [0]),
  'a length of five bytes': Buffer.from([0x30, 0xff, 0xff, 0xff, 0xff, 0x01]),
}

/** One of `BROKEN`, or `valid` with one change, but no PUBLISH of QoS 2, which is sent as half of a handshake only. */
export function brokenPacket(random: SeededRandom, valid: Buffer): Buffer {
  for (;;) {
    const bytes = maybeBroken(random, valid)
    if ((bytes[0] & 0xf6) !== 0x34) return bytes
  }
}

function maybeBroken(random: SeededRandom, valid: Buffer): Buffer {
  if (random.chance(0.5)) {
    const all = Object.values(BROKEN)
    return all[random.below(all.length)]
  }
  // Short packets: their length is one byte.
  const body = Buffer.from(valid.subarray(2))
  const draw = random.below(4)
  if (draw === 0) return packet(valid[0] ^ (1 << random.below(8)), body)
  if (draw === 1) return packet(valid[0], body.subarray(0, random.below(body.length)))
  if (draw === 2) return packet(valid[0], body, [random.below(256)])
  body[random.below(body.length)] = random.below(256)
  return packet(valid[0], body)
}

/** A CONNECT with some fields missing, one too many, or flags that are not as its fields. */
export function brokenConnect(random: SeededRandom, clientId: string): Buffer {
  const pick = <T>(items: readonly T[]): T => items[random.below(items.length)]
  const [name, level] = pick<[string, number]>([
    ...Array<[string, number]>(8).fill(['MQTT', 4]),
    ...Array<[string, number]>(4).fill(['MQIsdp', 3]),
    ['MQTT', 3],
    ['MQIsdp', 4],
    ['MQTT', 6],
    ['MQTT', 0],
    ['mqtt', 4],
    ['', 4],
    ['MQTTX', 4],
  ])
  const flags = random.chance(0.5) ? random.below(256) : pick([FLAGS.clean, 0, FLAGS.clean | FLAGS.will])
  const fields: Buffer[] = [text(pick([clientId, clientId, clientId, '', `${clientId}é`, `${clientId}\0`]))]
  if (((flags & FLAGS.will) !== 0) !== random.chance(0.05))
    fields.push(text(pick(['x/will', 'x/will', 'x/will', '', 'x/#'])), text('will'))
  if (((flags & FLAGS.user) !== 0) !== random.chance(0.05)) fields.push(text(pick(['user', '', 'u\0'])))
  if (((flags & FLAGS.password) !== 0) !== random.chance(0.05)) fields.push(text('password'))
  if (random.chance(0.05)) fields.push(Buffer.from([0]))
  const bytes = packet(pick([0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x11, 0x18]), name, [level, flags], u16(0), ...fields)
  return random.chance(0.1) ? packet(bytes[0], bytes.subarray(2, 2 + random.below(bytes.length - 2))) : bytes
}
