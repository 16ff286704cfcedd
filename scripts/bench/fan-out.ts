// Fan-out: one publisher, 100 subscribers, QoS 0; messages a second that arrive over all subscribers.

import { mosquittoMissing } from '../../test/helpers/mosquitto.js'
import { type Contestant, mosquitto, sluice } from './contestants.js'
import type { FanOutResult, FanOutShape } from './fan-out-load.js'
import { runLoad } from './run-load.js'
import { median } from './statistics.js'
import { type BenchOptions, formatTable, thousands, type Workload } from './workload.js'

const SUBSCRIBERS = 100
const AT_LEAST = 1
/** Part of a core used by the load program from which on it is measured as much as the broker. */
const NEAR_CEILING = 0.9

/** Messages in one write of the publisher: a device that speaks up now and then, and one that empties a buffer. */
const BURSTS = [1, 50]

export const fanOut: Workload = {
  name: 'fan-out',
  summary: `QoS 0 messages delivered a second to ${SUBSCRIBERS} subscribers, beside mosquitto`,
  async run(options) {
    const contestants = mosquittoMissing === null ? [sluice, mosquitto] : [sluice]
    const rows = [
      ['messages in a write', ...contestants.map(({ name }) => name), 'ratio to mosquitto', 'at least', 'load busy'],
    ]
    const result: unknown[] = []
    const doubts: string[] = []
    for (const burst of BURSTS) {
      const results = await measure(burst, contestants, options)
      const of = (contestant: Contestant, what: keyof FanOutResult) =>
        median((results.get(contestant) ?? []).map((one) => one[what]))
      const rates = contestants.map((one) => of(one, 'deliveriesPerSecond'))
      const busy = contestants.map((one) => of(one, 'busy'))
      const ratio = rates.length > 1 ? rates[0] / rates[1] : null
      const ratioText = ratio === null ? '–' : `${ratio.toFixed(2)}×`
      const busyText = busy.map((one) => one.toFixed(2)).join(', ')
      rows.push([String(burst), ...rates.map(thousands), ratioText, `${AT_LEAST}×`, busyText])
      result.push({
        burst,
        rates: rates.map(Math.round),
        load_busy: busy,
        ratio_to_mosquitto: ratio,
        at_least: AT_LEAST,
      })
      for (const [i, { name }] of contestants.entries())
        if (busy[i] > NEAR_CEILING)
          doubts.push(`${burst} in a write, ${name}: the load program used its core up; the broker may do more.`)
    }
    const text = [
      `Fan-out 1 → ${SUBSCRIBERS}, QoS 0, 100 B payload, messages delivered a second (median of the rounds)`,
      '',
      ...formatTable(rows),
      ...doubts,
    ]
    return { text, result }
  },
}

async function measure(
  burst: number,
  contestants: readonly Contestant[],
  options: BenchOptions,
): Promise<Map<Contestant, FanOutResult[]>> {
  const results = new Map<Contestant, FanOutResult[]>(contestants.map((one) => [one, []]))
  const rounds = options.quick ? 1 : 3
  for (let round = 1; round <= rounds; round++)
    for (const contestant of contestants) {
      options.progress(`fan-out, ${burst} in a write: round ${round} of ${rounds}, ${contestant.name}`)
      const broker = await contestant.start(options.brokerCore)
      try {
        const shape: FanOutShape = {
          port: broker.port,
          subscribers: SUBSCRIBERS,
          payloadBytes: 100,
          window: 200,
          burst,
          warmUpMs: options.quick ? 300 : 1000,
          measureMs: options.quick ? 700 : 3000,
        }
        results.get(contestant)?.push(await runLoad<FanOutResult>('fan-out-load', shape, options))
      } finally {
        await broker.stop()
      }
    }
  return results
}
