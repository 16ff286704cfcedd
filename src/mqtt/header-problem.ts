// What may stand in the fixed header of a packet that a client sends, known before its body has arrived. MQTT 3.1.1 section 2.2.

const CONNECT = 1
const PUBLISH = 3
const PUBACK = 4
const PUBREL = 6
const PUBCOMP = 7
const SUBSCRIBE = 8
const UNSUBSCRIBE = 10
const PINGREQ = 12
const DISCONNECT = 14
const DUP = 8
const QOS = 6

/**
 * @param firstByte Type and flags. Those of CONNECT are judged with its body, which tells the protocol level.
 * @param remainingLength Bytes in the body.
 * @param protocolLevel 3 for MQTT 3.1, 4 for 3.1.1.
 * @returns what is wrong, as a phrase, or null.
 */
export function headerProblem(firstByte: number, remainingLength: number, protocolLevel: number): string | null {
  const type = firstByte >> 4
  const flags = firstByte & 15
  if (type === PUBLISH) return publishProblem(flags, remainingLength)
  if (type >= PUBACK && type <= PUBCOMP) {
    if (remainingLength !== 2) return 'an acknowledgement must be two bytes long'
    return flagsProblem(type, flags, protocolLevel)
  }
  if (type === SUBSCRIBE || type === UNSUBSCRIBE) return flagsProblem(type, flags, protocolLevel)
  if (type === PINGREQ || type === DISCONNECT) {
    if (remainingLength !== 0) return 'PINGREQ and DISCONNECT have no body'
    return flagsProblem(type, flags, protocolLevel) // [MQTT-3.14.1-1]
  }
  if (type === CONNECT) return null
  return `packet type ${type} is not one a client may send`
}

function publishProblem(flags: number, remainingLength: number): string | null {
  const qos = (flags >> 1) & 3
  if (qos === 3) return 'QoS 3 does not exist' // [MQTT-3.3.1-4]
  if (qos === 0 && (flags & DUP) !== 0) return 'DUP is set on QoS 0' // [MQTT-3.3.1-2]
  // Two bytes of length and at least one of topic name, and a packet identifier above QoS 0.
  return remainingLength < (qos === 0 ? 3 : 5) ? 'PUBLISH is too short to hold a topic' : null
}

/**
 * Reserved flags must be as the table says [MQTT-2.2.2-1, MQTT-2.2.2-2, MQTT-3.6.1-1, MQTT-3.8.1-1, MQTT-3.10.1-1]. MQTT 3.1 has them "not
 * used", but for the QoS of PUBREL, SUBSCRIBE and UNSUBSCRIBE, which is 1; their DUP says what it says in PUBLISH.
 */
function flagsProblem(type: number, flags: number, protocolLevel: number): string | null {
  const expected = type === PUBREL || type === SUBSCRIBE || type === UNSUBSCRIBE ? 2 : 0
  const seen = protocolLevel > 3 ? flags : expected === 0 ? 0 : flags & QOS
  return seen === expected ? null : `reserved flags of packet type ${type} are ${flags}, not ${expected}`
}
