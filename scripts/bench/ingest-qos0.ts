// QoS 0 ingest: how many messages of 100 bytes a second a broker takes in, proved by the PUBACK of a last QoS 1 message on each connection.

import { mosquittoMissing } from '../../test/helpers/mosquitto.js'
import { type Contestant, mosquitto, sluice } from './contestants.js'
import type { LoadResult, LoadShape } from './load-generator.js'
import { runLoad } from './run-load.js'
import { median } from './statistics.js'
import { formatTable, thousands, type Workload } from './workload.js'

const AT_LEAST = 2

export const ingestQos0: Workload = {
  name: 'ingest-qos0',
  summary: 'QoS 0 messages taken in a second, beside mosquitto',
  async run(options) {
    const contestants = mosquittoMissing === null ? [sluice, mosquitto] : [sluice]
    const rates = new Map<Contestant, number[]>(contestants.map((one) => [one, []]))
    const rounds = options.quick ? 1 : 3
    for (let round = 1; round <= rounds; round++)
      for (const contestant of contestants) {
        options.progress(`QoS 0 ingest: round ${round} of ${rounds}, ${contestant.name}`)
        const broker = await contestant.start(options.brokerCore)
        try {
          const load: LoadShape = {
            port: broker.port,
            qos: 0,
            connections: 4,
            inFlight: 500,
            payloadBytes: 100,
            warmUpMs: options.quick ? 300 : 1000,
            measureMs: options.quick ? 700 : 3000,
          }
          rates.get(contestant)?.push((await runLoad<LoadResult>('load-generator', load, options)).messagesPerSecond)
        } finally {
          await broker.stop()
        }
      }
    const medians = contestants.map((one) => median(rates.get(one) ?? []))
    const ratio = medians.length > 1 ? medians[0] / medians[1] : null
    const rows = [
      ['connections', ...contestants.map(({ name }) => name), 'ratio to mosquitto', 'at least'],
      ['4', ...medians.map(thousands), ratio === null ? '–' : `${ratio.toFixed(2)}×`, `${AT_LEAST}×`],
    ]
    const text = [
      'QoS 0 ingest, 100 B payload, messages a second (median of the rounds)',
      '',
      ...formatTable(rows),
      '',
      'Sluice stores them as well; mosquitto, without a subscriber, forgets them.',
    ]
    return { text, result: { medians: medians.map(Math.round), ratio_to_mosquitto: ratio, at_least: AT_LEAST } }
  },
}
