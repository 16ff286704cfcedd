// A device on a serial line: how much of a line of 115,200 baud is filled with payload, each message on disk before its ack, and what that
// costs the node.

import { join } from 'node:path'
import { makePtyPair } from '../../firmware-bridge/sim/pty-pair.js'
import { findProgram } from '../../test/helpers/mosquitto.js'
import { NodeProcess } from '../../test/helpers/node-process.js'
import { cpuSecondsOf, residentKb } from '../../test/helpers/process-usage.js'
import { tempDir } from '../../test/helpers/temp-dir.js'
import type { FirmwareResult, FirmwareShape } from './firmware-load.js'
import { runLoad } from './run-load.js'
import { type BenchOptions, formatTable, type Workload } from './workload.js'

const BAUD_RATE = 115_200
const BITS_PER_BYTE = 10
const WINDOW = 16
const PAYLOADS = [16, 32, 128, 512]
const TOPIC_BYTES = 1
/** To hold: so much of what the line could carry once frames have taken their part. */
const WANTED_FILL = 0.85

interface Measured extends FirmwareResult {
  readonly cpuShare: number
  readonly rssKb: number
}

export const firmware: Workload = {
  name: 'firmware',
  summary: 'a serial line of 115,200 baud filled with messages (needs socat)',
  async run(options) {
    const text: string[] = []
    const result: Record<string, unknown> = {}
    if (findProgram('socat') === null) text.push('The serial line is left out: socat is not installed.')
    else result['serial'] = await serialLines(options, text)
    return { text, result }
  },
}

async function serialLines(options: BenchOptions, text: string[]): Promise<unknown[]> {
  const rows = [
    ['payload', 'wire per message', 'overhead', 'messages', 'payload/s', 'line fill', 'ack p50', 'p99', 'CPU', 'RSS'],
  ]
  const results: unknown[] = []
  for (const payloadBytes of PAYLOADS) {
    options.progress(`serial line, ${payloadBytes} B`)
    const folder = tempDir()
    const pair = await makePtyPair(join(folder, 'device'), join(folder, 'node'))
    const config = `[[firmware]]\nname = "bench"\nports = ${JSON.stringify(pair.nodeEnd)}\nmax_in_flight = ${WINDOW}\n`
    const node = await NodeProcess.start({ config, core: options.brokerCore })
    try {
      const serial = { path: pair.deviceEnd, baudRate: BAUD_RATE, window: WINDOW }
      const measured = await measure(node, { ...times(options), payloadBytes, serial }, options)
      const { acked, seconds, lineBytes, frames } = measured
      const wire = lineBytes / frames
      const capacity = (BAUD_RATE / BITS_PER_BYTE) * (payloadBytes / wire)
      const fill = (acked * payloadBytes) / seconds / capacity
      rows.push([
        `${payloadBytes} B`,
        `${wire.toFixed(1)} B`,
        `${(wire - payloadBytes - TOPIC_BYTES).toFixed(1)} B`,
        `${(acked / seconds).toFixed(0)}/s`,
        `${((acked * payloadBytes) / seconds / 1024).toFixed(2)} KB/s`,
        `${(100 * fill).toFixed(1)}%`,
        ...costs(measured),
      ])
      results.push({ payload_bytes: payloadBytes, wire_bytes: wire, fill, ...measured })
    } finally {
      await node.kill('SIGKILL')
      pair.close()
    }
  }
  text.push(
    `One device at ${BAUD_RATE} baud, topic of ${TOPIC_BYTES} B, window ${WINDOW}, every ack after fdatasync (to hold: line fill ${100 * WANTED_FILL}%,`,
    'the share of what the line can carry beside the overhead of frames)',
    '',
    ...formatTable(rows),
  )
  return results
}

function times({ quick }: BenchOptions) {
  return quick ? { warmUpMs: 2000, measureMs: 2000 } : { warmUpMs: 3000, measureMs: 10_000 }
}

async function measure(node: NodeProcess, shape: FirmwareShape, options: BenchOptions): Promise<Measured> {
  const at: Record<string, number> = {}
  const load = await runLoad<FirmwareResult>('firmware-load', shape, options, (name) => {
    at[name] = cpuSecondsOf(node.pid)
  })
  return { ...load, cpuShare: (at['end'] - at['start']) / load.seconds, rssKb: residentKb(node.pid, 'VmRSS') }
}

function costs({ p50Ms, p99Ms, cpuShare, rssKb }: Measured): string[] {
  const latencies = [p50Ms, p99Ms].map((ms) => `${ms.toFixed(1)} ms`)
  return [...latencies, `${(100 * cpuShare).toFixed(1)}%`, `${(rssKb / 1024).toFixed(0)} MB`]
}
