// Where the node does otherwise than mosquitto 2.0.11, and means to: what each is, and by which words of the standard. A sequence ends where one
// shows, since what comes after it may follow from it.
//
// Some are not met because sequences are not made so (sequence.ts, broken-packets.ts):
// - A QoS 2 message is delivered when PUBLISH has been stored, not at PUBREL: method B of section 4.3.3, where mosquitto has method A.
// - PUBLISH with an identifier that is in use by a handshake is that message again, whatever it says [MQTT-4.3.3-2]; to mosquitto it is a new one if
//   it differs, and when it comes for the third time a reason to close.
// - The will of a connection that is taken over is published [MQTT-3.1.2-8]; mosquitto forgets it where both connections keep the session.
// - A SUBSCRIBE with a fault changes nothing; mosquitto has done by then what stands before the fault.
// - The session of a client that says CONNECT twice is kept [MQTT-3.1.2-4]; mosquitto discards it.
// - A PUBLISH above QoS 0 that is not allowed closes the connection, since an acknowledgement says that it is on disk [MQTT-3.3.5-2]; mosquitto
//   acknowledges and forgets it. A SUBSCRIBE that is not allowed is answered with 0x80 [MQTT-3.9.3-2]; mosquitto grants it and sends nothing.
// - Of a filter that stands in one SUBSCRIBE twice, retained messages are sent once, at its last QoS; mosquitto sends them for each.

import { packet, u16 } from '../../mqtt/raw-client.js'
import type { Outcome } from './party.js'
import type { Step } from './sequence.js'

export interface Difference {
  readonly name: string
  /** What the standard says. */
  readonly by: string
  /** On an open connection, or a CONNECT of its own, this closes the connection to the node and not the one to mosquitto. */
  readonly example?: Buffer
  /** On a connection of MQTT 3.1. */
  readonly level?: 3
  explains(step: Step, theirs: Outcome, ours: Outcome): boolean
}

/** What stands at the beginning of a packet of up to 127 bytes. */
interface Shown {
  readonly first: number
  readonly body: Buffer
}

/** The node closes the connection over a packet that mosquitto lets pass. */
function closesOver(name: string, by: string, example: Buffer, shows: (packet: Shown) => boolean): Difference {
  const explains = (step: Step, theirs: Outcome, ours: Outcome) => {
    if (step.kind !== 'send' || !shows({ first: step.bytes[0], body: step.bytes.subarray(2) })) return false
    return ours.get(step.client)?.join() === 'closed' && theirs.get(step.client)?.includes('closed') === false
  }
  return { name, by, example, explains }
}

interface Introduction {
  readonly first: number
  readonly level: number
  readonly flags: number
  readonly clientIdBytes: number
  readonly bytes: Buffer
}

/** The node closes the connection over a CONNECT that mosquitto accepts, or refuses with a CONNACK. */
function refuses(name: string, by: string, example: Buffer, shows: (connect: Introduction) => boolean): Difference {
  const explains = (step: Step, theirs: Outcome, ours: Outcome) => {
    if (step.kind !== 'stranger' || ours.get('stranger')?.join() !== 'closed') return false
    const { bytes } = step
    const afterName = 4 + bytes.readUInt16BE(2)
    const [level, flags] = bytes.subarray(afterName)
    const clientIdBytes = afterName + 6 <= bytes.length ? bytes.readUInt16BE(afterName + 4) : 0
    const mayDiffer = shows({ first: bytes[0], level, flags, clientIdBytes, bytes })
    return mayDiffer && theirs.get('stranger')?.[0].startsWith('CONNACK') === true
  }
  return { name, by, example, explains }
}

const isAcknowledgement = (first: number) => first >> 4 >= 4 && first >> 4 <= 7
const isFilters = (first: number) => first >> 4 === 8 || first >> 4 === 10
const connect31 = (flags: number, ...payload: string[]) => packet(0x10, 'MQIsdp', [3, flags], u16(0), ...payload)

export const DIFFERENCES: readonly Difference[] = [
  closesOver(
    'DUP at QoS 0',
    'MQTT-3.3.1-2: DUP is 0 for all QoS 0 messages',
    packet(0x38, 'x'),
    ({ first }) => (first & 0xfe) === 0x38,
  ),
  closesOver(
    'a packet for clients only',
    'table 2.1: SUBACK, UNSUBACK and PINGRESP flow from server to client',
    packet(0xd0),
    ({ first }) => [0x90, 0xb0, 0xd0].includes(first & 0xf0),
  ),
  closesOver(
    'a long acknowledgement',
    'sections 3.4.1, 3.5.1, 3.6.1 and 3.7.1: the remaining length is 2',
    packet(0x62, u16(9), [0]),
    ({ first, body }) => isAcknowledgement(first) && body.length > 2,
  ),
  closesOver(
    'flags of an acknowledgement',
    'MQTT-2.2.2-2: invalid flags close the connection',
    packet(0x42, u16(9)),
    ({ first }) => isAcknowledgement(first) && (first & 15) !== (first >> 4 === 6 ? 2 : 0),
  ),
  closesOver(
    'flags or a body of PINGREQ',
    'MQTT-2.2.2-2, and section 3.12: there is no body',
    packet(0xc1),
    ({ first, body }) => first >> 4 === 12 && (first !== 0xc0 || body.length > 0),
  ),
  {
    level: 3,
    ...closesOver(
      'SUBSCRIBE and UNSUBSCRIBE of MQTT 3.1, of nothing or with other flags',
      'MQTT-3.8.3-3, MQTT-3.10.3-2: at least one filter; MQTT 3.1, sections 3.8 and 3.10: they use QoS level 1. mosquitto asks it of MQTT 3.1.1 only',
      packet(0x82, u16(9)),
      ({ first, body }) => isFilters(first) && (body.length === 2 || (first & 15) !== 2),
    ),
  },
  refuses(
    'U+0000 in a user name of MQTT 3.1',
    'MQTT-1.5.3-2: it closes the connection',
    connect31(0x82, 'stranger', 'u\0'),
    ({ level, bytes }) => level === 3 && bytes.includes('u\0'),
  ),
  refuses(
    'a password of nobody, with another fault',
    'MQTT-3.1.2-22, and MQTT-3.1.4-1: what does not conform is closed without CONNACK',
    packet(0x10, 'MQTT', [4, 0x40], u16(0), '', 'password'),
    ({ flags }) => (flags & 0xc0) === 0x40,
  ),
  refuses(
    'no identifier, with another fault',
    'MQTT-3.1.4-1: what does not conform is closed without CONNACK',
    packet(0x10, 'MQTT', [4, 0x04], u16(0), '', '', 'will'),
    ({ clientIdBytes }) => clientIdBytes === 0,
  ),
  {
    name: 'the will of who says CONNECT twice',
    by: 'MQTT-3.1.2-8: it is published when the server closes the connection because of a protocol error; mosquitto forgets it',
    explains(step, theirs, ours) {
      if (step.kind !== 'send' || step.bytes[0] >> 4 !== 1) return false
      return ours.get(step.client)?.join() === 'closed' && theirs.get(step.client)?.join() === 'closed'
    },
  },
]
