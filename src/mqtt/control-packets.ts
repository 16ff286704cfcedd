// What a client may send besides PUBLISH, and what comes of each: the gate's slower half. PUBLISH has a way of its own (publish-intake.ts).

import { fault } from './close-reason.js'
import { readConnect } from './connect-packet.js'
import { PINGRESP } from './encode.js'
import type { Gate } from './gate.js'
import type { GateHost } from './gate-host.js'
import { readFilters } from './subscribe-packet.js'

const CONNECT = 1
const PUBACK = 4
const PUBREC = 5
const PUBREL = 6
const PUBCOMP = 7
const SUBSCRIBE = 8
const UNSUBSCRIBE = 10
const PINGREQ = 12

/** The packet is buffer[start, end); its header has been judged already (header-problem.ts). */
export function takeControlPacket(
  gate: Gate,
  host: GateHost,
  buffer: Buffer,
  start: number,
  bodyStart: number,
  end: number,
): void {
  const type = buffer[start] >> 4
  if (gate.state === 'connect') {
    if (type !== CONNECT)
      gate.onViolation('the first packet is not CONNECT') // [MQTT-3.1.0-1]
    else takeConnect(gate, host, buffer[start], buffer, bodyStart, end)
    return
  }
  const packetId = type >= PUBACK && type <= PUBCOMP ? buffer.readUInt16BE(bodyStart) : 1
  if (packetId === 0)
    gate.onViolation('packet identifier is 0') // [MQTT-2.3.1-1]
  else if (type === CONNECT)
    gate.onViolation('a second CONNECT') // [MQTT-3.1.0-2]
  else if (type === PUBREL) gate.onPubrel(packetId)
  else if (type === PUBACK || type === PUBREC || type === PUBCOMP) {
    const problem = host.acknowledged(gate, type, packetId)
    if (problem !== null) gate.onViolation(problem)
  } else if (type === SUBSCRIBE || type === UNSUBSCRIBE)
    takeFilters(gate, host, buffer, bodyStart, end, type === SUBSCRIBE)
  else if (type === PINGREQ)
    gate.outbox.answer(PINGRESP) // [MQTT-3.12.4-1]
  else {
    gate.onDisconnect()
    host.disconnect(gate)
  }
}

function takeConnect(gate: Gate, host: GateHost, first: number, buffer: Buffer, bodyStart: number, end: number): void {
  const connect = readConnect(first, buffer, bodyStart, end, host.limits.maxClientIdBytes)
  if ('returnCode' in connect) {
    if (connect.returnCode === 0) gate.onViolation(connect.problem)
    else gate.refuse(connect.returnCode, fault(connect.problem))
    return
  }
  gate.onConnect(connect)
  host.connect(gate, connect)
}

function takeFilters(
  gate: Gate,
  host: GateHost,
  buffer: Buffer,
  bodyStart: number,
  end: number,
  subscribe: boolean,
): void {
  const packet = readFilters(buffer, bodyStart, end, subscribe)
  if (typeof packet === 'string') gate.onViolation(packet)
  else gate.holdUntilSubscribed(() => (subscribe ? host.subscribe(gate, packet) : host.unsubscribe(gate, packet)))
}
