// Compares what was acknowledged with what arrived. Every message carries a running number `n` in its JSON, so that a lost message and a message that came
// twice cannot hide each other, and two equal readings stay two.

import type { Reading } from '../../scripts/readings.js'
import type { Message } from './reliable-publisher.js'

export interface DeliveryCheck {
  /** Different messages that arrived. */
  readonly delivered: number
  /** Acknowledged, but never arrived. */
  readonly lost: number
  /** Arrived more often than once. */
  readonly duplicated: number
  /** Arrived for the first time after a later one of the same topic had arrived. */
  readonly outOfOrder: number
}

/** A reading as the message number `n`. */
export function numbered({ mqttTopic, payload }: Reading, n: number): Message {
  return { mqttTopic, payload: `${payload.slice(0, -1)},"n":${n}}` }
}

/** @param arrived In the order of their arrival; topics may differ from those of `acked`, order is checked per topic of arrival. */
export function checkDelivery(acked: readonly Message[], arrived: Iterable<Message>): DeliveryCheck {
  const seen = new Set<number>()
  const highest = new Map<string, number>()
  let duplicated = 0
  let outOfOrder = 0
  for (const { mqttTopic, payload } of arrived) {
    const n = numberOf(payload)
    if (seen.has(n)) {
      duplicated += 1
      continue
    }
    seen.add(n)
    if (n < (highest.get(mqttTopic) ?? -1)) outOfOrder += 1
    else highest.set(mqttTopic, n)
  }
  const lost = acked.filter(({ payload }) => !seen.has(numberOf(payload))).length
  return { delivered: seen.size, lost, duplicated, outOfOrder }
}

function numberOf(payload: string): number {
  const digits = /,"n":(\d+)\}$/.exec(payload)?.[1]
  if (digits === undefined) throw new Error(`a message without a number: ${payload}`)
  return Number(digits)
}
