// Reads and judges SUBSCRIBE and UNSUBSCRIBE, MQTT 3.1.1 sections 3.8 and 3.10. Pure.
//
//   SUBSCRIBE   body = packet-identifier(u16) { filter requested-qos(u8) }
//   UNSUBSCRIBE body = packet-identifier(u16) { filter }                     filter: u16 length, then UTF-8

import { isUtf8 } from 'node:buffer'
import { topicFilterProblem } from '../base/topic-filter.js'
import type { Qos } from '../record/record.js'

export interface FilterRequest {
  readonly filter: string
  /** Requested; 0 in an UNSUBSCRIBE. */
  readonly qos: Qos
}

export interface FilterPacket {
  readonly packetId: number
  /** In the order of the packet; a filter may occur more than once. */
  readonly requests: readonly FilterRequest[]
}

/** @returns the packet whose body is buffer[start, end), or a phrase that says what is wrong with it. */
export function readFilters(buffer: Buffer, start: number, end: number, withQos: boolean): FilterPacket | string {
  if (end - start < 2) return 'SUBSCRIBE is cut short'
  const packetId = buffer.readUInt16BE(start)
  if (packetId === 0) return 'packet identifier is 0' // [MQTT-2.3.1-1]
  const requests: FilterRequest[] = []
  let position = start + 2
  while (position < end) {
    const textStart = position + 2
    const textEnd = textStart <= end ? textStart + buffer.readUInt16BE(position) : Number.POSITIVE_INFINITY
    position = withQos ? textEnd + 1 : textEnd
    if (position > end) return 'SUBSCRIBE is cut short'
    const bytes = buffer.subarray(textStart, textEnd)
    if (!isUtf8(bytes)) return 'filter is not valid UTF-8' // [MQTT-3.8.3-1, MQTT-3.10.3-1]
    const filter = bytes.toString('utf8')
    const problem = topicFilterProblem(filter)
    if (problem !== null) return `filter ${problem}`
    const qos = withQos ? buffer[textEnd] : 0
    if (qos > 2) return 'requested QoS is above 2, or reserved bits are set' // [MQTT-3.8.3-4]
    requests.push({ filter, qos: qos as Qos })
  }
  return requests.length > 0 ? { packetId, requests } : 'SUBSCRIBE holds no filter' // [MQTT-3.8.3-3, MQTT-3.10.3-2]
}
