// Compares a stream with its mirror at another node, record by record, as both give them over HTTP: offset, time, topic, payload, QoS and retain.

import { getJson } from './http.js'
import type { NodeProcess } from './node-process.js'
import type { Message } from './reliable-publisher.js'

export interface StoredRecord {
  readonly offset: number
  readonly [field: string]: unknown
}

interface RecordsAnswer {
  readonly records: readonly StoredRecord[]
  readonly next_offset: number
  readonly high_watermark: number
}

export interface StreamAnswer {
  readonly name: string
  readonly bytes: number
  readonly partitions: readonly { readonly log_start_offset: number; readonly high_watermark: number }[]
}

const MAX_RECORDS = 10_000

/** Everything a partition holds, in order, a page at a time. */
export async function* recordPages(node: NodeProcess, stream: string, partition = 0): AsyncIterable<StoredRecord[]> {
  let offset: number | 'earliest' = 'earliest'
  for (;;) {
    const query: string = `offset=${offset}&max_records=${MAX_RECORDS}`
    const path = `/v1/streams/${stream}/partitions/${partition}/records?${query}`
    const answer: RecordsAnswer = await getJson<RecordsAnswer>(`${node.httpUrl}${path}`)
    // The name is the one thing that differs.
    yield answer.records.map(({ stream: _, ...record }) => record as StoredRecord)
    offset = answer.next_offset
    if (answer.next_offset >= answer.high_watermark) return
  }
}

/** Everything a partition holds, in order. */
export async function storedRecords(node: NodeProcess, stream: string, partition = 0): Promise<StoredRecord[]> {
  const records: StoredRecord[] = []
  for await (const page of recordPages(node, stream, partition)) records.push(...page)
  return records
}

/** @returns how many there are. @throws Error naming the first record that differs. */
export async function assertSame(
  [gateway, stream]: readonly [NodeProcess, string],
  [upstream, mirror]: readonly [NodeProcess, string],
): Promise<number> {
  const partitions = (await streamAt(gateway, stream))?.partitions.length ?? 0
  let count = 0
  for (let partition = 0; partition < partitions; partition++) {
    const here = oneByOne(recordPages(upstream, mirror, partition))
    for await (const record of oneByOne(recordPages(gateway, stream, partition))) {
      const [a, b] = [JSON.stringify(record), JSON.stringify((await here.next()).value)]
      if (a !== b) throw new Error(`partition ${partition}: ${a} at the gateway, ${b} in the mirror`)
      count += 1
    }
    const more = await here.next()
    if (!more.done) throw new Error(`partition ${partition}: ${JSON.stringify(more.value)} is in the mirror only`)
  }
  return count
}

async function* oneByOne(pages: AsyncIterable<StoredRecord[]>): AsyncGenerator<StoredRecord, void> {
  for await (const page of pages) yield* page
}

/** Undefined while the node has no such stream. */
export async function streamAt(node: NodeProcess, stream: string): Promise<StreamAnswer | undefined> {
  const { streams } = await getJson<{ streams: StreamAnswer[] }>(`${node.httpUrl}/v1/streams`)
  return streams.find(({ name }) => name === stream)
}

/** Resolves once the mirror has come as far as the stream; @throws Error when nothing comes for so long. */
export async function caughtUp(
  [gateway, stream]: readonly [NodeProcess, string],
  [upstream, mirror]: readonly [NodeProcess, string],
  stallMs = 30_000,
): Promise<void> {
  let last = ''
  for (let changedAt = performance.now(); ; await new Promise((resolve) => setTimeout(resolve, 100))) {
    const ends = async (node: NodeProcess, name: string) =>
      ((await streamAt(node, name))?.partitions ?? []).map(({ high_watermark: end }) => end).join()
    const [there, here] = [await ends(gateway, stream), await ends(upstream, mirror)]
    if (there === here) return
    if (here !== last) changedAt = performance.now()
    last = here
    if (performance.now() - changedAt > stallMs)
      throw new Error(
        `${mirror} stays at ${here} of ${there}\n--- gateway\n${gateway.output}\n--- upstream\n${upstream.output}`,
      )
  }
}

/** All partitions, one after the other. */
export async function storedMessages(node: NodeProcess, stream: string): Promise<Message[]> {
  const messages: Message[] = []
  const partitions = (await streamAt(node, stream))?.partitions.length ?? 0
  for (let partition = 0; partition < partitions; partition++)
    for await (const { topic, value } of oneByOne(recordPages(node, stream, partition)))
      messages.push({ mqttTopic: String(topic), payload: String(value) })
  return messages
}

/** A node that forwards what it mirrors of `telemetry`, or a gateway's, to the next. */
export function siteConfig(port: number, top = ''): string {
  return `
node_id = "site"
${top}
[[upstream]]
name = "cloud"
type = "sluice"
url = "mqtt://127.0.0.1:${port}"
streams = ["*.telemetry"]
reconnect_min_ms = 20
reconnect_max_ms = 200
`
}

/** A gateway with one stream of two partitions, forwarded to a Sluice node. */
export function gatewayConfig(
  nodeId: string,
  port: number,
  more: { readonly top?: string; readonly stream?: string; readonly upstream?: string } = {},
): string {
  return `
node_id = "${nodeId}"
${more.top ?? ''}
[[stream]]
name = "telemetry"
topics = ["#"]
partitions = 2
${more.stream ?? ''}
[[upstream]]
name = "cloud"
type = "sluice"
url = "mqtt://127.0.0.1:${port}"
streams = ["telemetry"]
reconnect_min_ms = 20
reconnect_max_ms = 200
${more.upstream ?? ''}
`
}

/** Of the only upstream of a gateway; empty while there is none. */
export async function lastError(gateway: NodeProcess): Promise<string> {
  const { upstreams } = await getJson<{ upstreams: { last_error?: string }[] }>(`${gateway.httpUrl}/v1/upstreams`)
  return upstreams[0].last_error ?? ''
}
