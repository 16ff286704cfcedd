// QoS 1 ingest: how many messages of 100 bytes a second are acknowledged, beside mosquitto where it is installed.

import { mosquittoMissing } from '../../test/helpers/mosquitto.js'
import { type Contestant, mosquitto, mosquittoKeeping, sink, sluice } from './contestants.js'
import type { LoadResult, LoadShape } from './load-generator.js'
import { runLoad } from './run-load.js'
import { median } from './statistics.js'
import { type BenchOptions, formatTable, thousands, type Workload, type WorkloadReport } from './workload.js'

interface Shape {
  readonly connections: number
  readonly inFlight: number
  /** What the ratio to mosquitto in memory has to be at least. */
  readonly atLeast: number
}

interface Measured {
  readonly shape: Shape
  /** Messages a second, one figure a round. */
  readonly rates: ReadonlyMap<Contestant, number[]>
  readonly sinkRate: number
}

const PAYLOAD_BYTES = 100
/** Best over worst round, from which on something else than the brokers was measured. */
const BUSY_SPREAD = 1.4
/** Part of the load generator's ceiling from which on the generator is measured as much as the broker. */
const NEAR_CEILING = 0.8
const SHAPES: readonly Shape[] = [
  { connections: 4, inFlight: 1000, atLeast: 3 },
  { connections: 100, inFlight: 20, atLeast: 2 },
  { connections: 100, inFlight: 1, atLeast: 0.6 },
]

export const ingest: Workload = {
  name: 'ingest',
  summary: 'QoS 1 messages acknowledged a second, beside mosquitto',
  async run(options) {
    const contestants = mosquittoMissing === null ? [sluice, mosquitto, mosquittoKeeping] : [sluice]
    const measured: Measured[] = []
    for (const shape of SHAPES) measured.push(await measureShape(shape, contestants, options))
    return report(measured, contestants)
  },
}

/** Contestants take turns, round by round, so that a slow minute of the machine hits all of them. */
async function measureShape(
  shape: Shape,
  contestants: readonly Contestant[],
  options: BenchOptions,
): Promise<Measured> {
  const rates = new Map(contestants.map((contestant) => [contestant, [] as number[]]))
  const rounds = options.quick ? 1 : 3
  for (let round = 1; round <= rounds; round++) {
    for (const contestant of contestants) {
      options.progress(`${nameOf(shape)}: round ${round} of ${rounds}, ${contestant.name}`)
      rates.get(contestant)?.push(await measure(shape, contestant, options))
    }
  }
  options.progress(`${nameOf(shape)}: ceiling of the load generator`)
  return { shape, rates, sinkRate: await measure(shape, sink, options) }
}

async function measure(shape: Shape, contestant: Contestant, options: BenchOptions): Promise<number> {
  const broker = await contestant.start(options.brokerCore)
  try {
    const load: LoadShape = {
      port: broker.port,
      qos: 1,
      connections: shape.connections,
      inFlight: shape.inFlight,
      payloadBytes: PAYLOAD_BYTES,
      warmUpMs: options.quick ? 300 : 1000,
      measureMs: options.quick ? 700 : 3000,
    }
    return (await runLoad<LoadResult>('load-generator', load, options)).messagesPerSecond
  } finally {
    await broker.stop()
  }
}

function report(measured: readonly Measured[], contestants: readonly Contestant[]): WorkloadReport {
  const text = [`QoS 1 ingest, ${PAYLOAD_BYTES} B payload, messages acknowledged a second (median of the rounds)`, '']
  const rows = [
    ['connections × in flight', ...contestants.map((one) => one.name), 'ratio to mosquitto', 'at least', 'generator'],
  ]
  const result: unknown[] = []
  for (const { shape, rates, sinkRate } of measured) {
    const medians = new Map(contestants.map((one) => [one, median(rates.get(one) ?? [])]))
    const ours = medians.get(sluice) ?? 0
    const theirs = medians.get(mosquitto)
    const ratio = theirs === undefined ? null : ours / theirs
    rows.push([
      nameOf(shape),
      ...contestants.map((one) => thousands(medians.get(one) ?? 0)),
      ratio === null ? '–' : `${boundSign(ours, theirs ?? 0, sinkRate)}${ratio.toFixed(2)}×`,
      `${shape.atLeast}×`,
      thousands(sinkRate),
    ])
    result.push({
      connections: shape.connections,
      in_flight: shape.inFlight,
      rates: Object.fromEntries(contestants.map((one) => [one.name, (rates.get(one) ?? []).map(Math.round)])),
      medians: Object.fromEntries(contestants.map((one) => [one.name, Math.round(medians.get(one) ?? 0)])),
      ratio_to_mosquitto: ratio,
      at_least: shape.atLeast,
      generator_ceiling: Math.round(sinkRate),
    })
  }
  text.push(...formatTable(rows), '', 'What an acknowledgement means:')
  for (const { name, durability } of [...contestants, sink]) text.push(`  ${name}: ${durability}`)
  text.push(...doubts(measured))
  if (contestants.length === 1) text.push(`No comparison: ${mosquittoMissing}.`)
  return { text, result }
}

/** What makes a figure worth less than it looks. */
function doubts(measured: readonly Measured[]): string[] {
  const lines: string[] = []
  for (const { shape, rates, sinkRate } of measured) {
    for (const [{ name }, ofRounds] of rates) {
      const [least, most] = [Math.min(...ofRounds), Math.max(...ofRounds)]
      if (most > BUSY_SPREAD * least) {
        const spread = `${thousands(least)} to ${thousands(most)}`
        lines.push(
          `${nameOf(shape)}, ${name}: rounds from ${spread}; the machine was busy with something else, run again.`,
        )
      }
      if (isNearCeiling(median(ofRounds), sinkRate)) {
        lines.push(
          `${nameOf(shape)}, ${name}: near the ceiling of the load generator; it may do more, and the ratio is marked.`,
        )
      }
    }
  }
  return lines.length === 0 ? [] : ['', ...lines]
}

const isNearCeiling = (rate: number, sinkRate: number) => rate > NEAR_CEILING * sinkRate

/** What stands before a ratio of which one figure, or both, may be the load generator's and not the broker's. */
function boundSign(ours: number, theirs: number, sinkRate: number): string {
  const [oursIs, theirsIs] = [isNearCeiling(ours, sinkRate), isNearCeiling(theirs, sinkRate)]
  if (oursIs && theirsIs) return '~ '
  return oursIs ? '≥ ' : theirsIs ? '≤ ' : ''
}

const nameOf = (shape: Shape) => `${shape.connections} × ${shape.inFlight}`
