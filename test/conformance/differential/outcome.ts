// What a client was sent, in words that two brokers share: packet identifiers that the broker chose are replaced by the message they stand for, and
// what no standard orders is sorted.

import { publishOf, type RawPacket } from '../../mqtt/raw-client.js'

export interface Received {
  readonly packet: RawPacket
  /** Which connection of the client it came over. */
  readonly connection: number
}

/** A QoS 1 or 2 message on its way to a client. */
export interface Delivery {
  readonly id: number
  readonly qos: number
  state: 'sent' | 'released'
}

export interface Copy {
  readonly packet: RawPacket
  readonly id: number
  readonly qos: number
}

/**
 * Answers in their order, then messages of QoS 0, of QoS 1 and 2, retained ones by topic, and at last that the connection was closed.
 * @param messages By identifier; those of `received` are added.
 * @param told As for `strayCopies`.
 */
export function linesOf(
  received: readonly Received[],
  messages: Map<number, string>,
  told: ReadonlySet<string>,
  closed: boolean,
): string[] {
  const stray = new Set([...strayCopies(received, told).map(({ packet }) => packet), ...sentBefore(received)])
  const answers: string[] = []
  const atOnce: string[] = []
  const stored: string[] = []
  const retained: string[] = []
  // A message that came over two connections within a step: whether before or after is not told.
  const connections = new Set(received.map(({ connection }) => connection)).size
  for (const { packet } of received) {
    if (packet.first >> 4 !== 3) {
      answers.push(answerLine(packet, messages))
      continue
    }
    const { topic, payload, qos, dup, retain, id } = publishOf(packet)
    if (qos > 0) messages.set(id, `${topic} "${payload}"`)
    if (stray.has(packet)) continue
    const list = retain ? retained : qos === 0 ? atOnce : stored
    const again = dup && connections === 1 ? ' DUP' : ''
    list.push(`PUBLISH ${topic} "${payload}" QoS ${qos}${again}${retain ? ' retained' : ''}`)
  }
  return [...answers, ...atOnce, ...stored, ...retained.sort(), ...(closed ? ['closed'] : [])]
}

/**
 * Of overlapping subscriptions a broker may send a copy each [MQTT-3.3.5]: all but the one of the highest QoS, or the first of these.
 * @param told Of this connection: when a copy is sent again it may be later than what the step was waited for.
 */
export function strayCopies(received: readonly Received[], told: ReadonlySet<string>): Copy[] {
  const best = new Map<string, Copy>()
  const stray: Copy[] = []
  const last = received.at(-1)?.connection
  for (const { packet, connection } of received) {
    if (packet.first >> 4 !== 3 || connection !== last) continue
    const { dup, qos, id } = publishOf(packet)
    const copy = { packet, id, qos }
    const key = copyKey(packet)
    if (dup && told.has(key)) {
      stray.push(copy)
      continue
    }
    const known = best.get(key)
    if (known === undefined || known.qos < qos) best.set(key, copy)
    if (known !== undefined) stray.push(known.qos < qos ? known : copy)
  }
  return stray
}

/** The same for copies of a message. */
export function copyKey(packet: RawPacket): string {
  const { topic, payload, retain } = publishOf(packet)
  return JSON.stringify([topic, payload, retain])
}

/** What came over an earlier connection and is sent again over the last, since nobody has acknowledged it. */
function sentBefore(received: readonly Received[]): RawPacket[] {
  const last = received.at(-1)?.connection
  return received
    .filter(({ packet, connection }) => connection !== last && packet.first >> 4 === 3 && (packet.first & 6) !== 0)
    .map(({ packet }) => packet)
}

const NAMES: Readonly<Record<number, string>> = {
  2: 'CONNACK',
  4: 'PUBACK',
  5: 'PUBREC',
  6: 'PUBREL',
  7: 'PUBCOMP',
  9: 'SUBACK',
  11: 'UNSUBACK',
}

function answerLine({ first, body }: RawPacket, messages: ReadonlyMap<number, string>): string {
  const name = NAMES[first >> 4] ?? `type ${first >> 4}`
  if (first === 0x62) return `PUBREL of ${messages.get(body.readUInt16BE(0)) ?? `unknown ${body.readUInt16BE(0)}`}`
  return `${name} ${(first & 15) === 0 ? '' : `flags ${first & 15} `}${[...body].join(' ')}`
}
