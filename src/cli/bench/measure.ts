// The measurements of `sluice bench`: what a node takes in, how long an acknowledgement takes, how fast stored records come back.

import { createHistogram } from 'node:perf_hooks'
import { SluiceError } from '../../base/errors.js'
import type { ApiClient } from '../api-client.js'
import { Publisher } from './publisher.js'
import { onAbort, TRIAL_STREAM, type TrialNode } from './trial-node.js'

export interface PublishLoad {
  readonly qos: 0 | 1
  readonly connections: number
  /** Per connection; for QoS 0 the packets of one write. */
  readonly inFlight: number
}

export interface LoadFigures {
  readonly messages: number
  readonly seconds: number
  /** From the write of a message to its PUBACK; null for QoS 0. */
  readonly ackMs: { readonly p50: number; readonly p99: number; readonly max: number } | null
}

const WARM_UP_SHARE = 0.25
const FETCH_BYTES = 1024 * 1024
const NANOSECONDS = 1e6

export interface MeasureOptions {
  readonly node: TrialNode
  readonly seconds: number
  readonly payloadBytes: number
  readonly signal: AbortSignal
}

/** @throws SluiceError when the node ends or closes a connection meanwhile. */
export async function measurePublishing(load: PublishLoad, options: MeasureOptions): Promise<LoadFigures> {
  const { node, seconds, payloadBytes, signal } = options
  const publishers: Publisher[] = []
  const histogram = createHistogram()
  let measuring = false
  const onLatency = (ms: number): void => {
    if (measuring) histogram.record(Math.max(1, Math.round(ms * NANOSECONDS)))
  }
  const failed = new Promise<never>((_, reject) => {
    const fail = (reason: string): void =>
      reject(new SluiceError('NOT_REACHABLE', `the measurement was cut short: ${reason}`))
    void node.ended.then((reason) => fail(`the node is gone, ${reason}`))
    onAbort(signal, () => fail('interrupted'))
    for (let i = 0; i < load.connections; i++) {
      const names = { clientId: `bench-${i}`, mqttTopic: `bench/${i}/load` }
      const timed = load.qos === 1 ? { onLatency } : {}
      publishers.push(
        new Publisher({ port: node.mqttPort, ...names, ...load, payloadBytes, onFailure: fail, ...timed }),
      )
    }
  })
  failed.catch(() => {})
  const acked = (): number => publishers.reduce((sum, publisher) => sum + publisher.acked, 0)
  try {
    await Promise.race([failed, Promise.all(publishers.map((publisher) => publisher.connected()))])
    for (const publisher of publishers) publisher.start()
    await Promise.race([failed, wait(seconds * WARM_UP_SHARE * 1000)])
    measuring = true
    const before = acked()
    const startedAtMs = performance.now()
    await Promise.race([failed, wait(seconds * 1000)])
    // QoS 0 has no acks: what counts has been taken by the node, which an ack of a last message proves.
    if (load.qos === 0) await Promise.race([failed, Promise.all(publishers.map((publisher) => publisher.finish()))])
    const elapsedMs = performance.now() - startedAtMs
    const messages = acked() - before
    const quantile = (percent: number): number => histogram.percentile(percent) / NANOSECONDS
    const ackMs =
      histogram.count === 0 ? null : { p50: quantile(50), p99: quantile(99), max: histogram.max / NANOSECONDS }
    return { messages, seconds: elapsedMs / 1000, ackMs }
  } finally {
    for (const publisher of publishers) publisher.close()
  }
}

/** Fetches what is stored as stored bytes, from the start, over and over until the time is up. */
export async function measureReading(
  api: ApiClient,
  { seconds, signal }: Pick<MeasureOptions, 'seconds' | 'signal'>,
): Promise<LoadFigures> {
  const path = `/v1/streams/${TRIAL_STREAM}/partitions/0/records`
  const startedAtMs = performance.now()
  let offset: number | 'earliest' = 'earliest'
  let messages = 0
  while (performance.now() - startedAtMs < seconds * 1000 && !signal.aborted) {
    const { headers } = await api.send(path, {
      query: { offset, max_bytes: FETCH_BYTES },
      accept: 'application/vnd.sluice.batches',
      signal,
    })
    const header = (name: string): number => Number(headers[name])
    const from: number = offset === 'earliest' ? header('x-sluice-log-start-offset') : offset
    const next = header('x-sluice-next-offset')
    messages += next - from
    offset = next === from ? 'earliest' : next
    if (next === from && messages === 0) break
  }
  return { messages, seconds: (performance.now() - startedAtMs) / 1000, ackMs: null }
}

function wait(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds))
}
