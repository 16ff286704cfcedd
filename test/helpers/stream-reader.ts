// What a node holds, read over HTTP as any program would.

import { getJson } from './http.js'
import type { NodeProcess } from './node-process.js'
import type { Message } from './reliable-publisher.js'

interface RecordsAnswer {
  readonly records: readonly { readonly topic: string; readonly value: string }[]
  readonly next_offset: number
  readonly high_watermark: number
}

interface StreamAnswer {
  readonly partitions: readonly { readonly high_watermark: number }[]
}

const MAX_RECORDS = 10_000

/** How many records partition 0 has ever held. */
export async function streamEnd(node: NodeProcess, stream: string): Promise<number> {
  const { partitions } = await getJson<StreamAnswer>(`${node.httpUrl}/v1/streams/${stream}`)
  return partitions[0].high_watermark
}

/** All records of partition 0, in order. */
export async function readStream(node: NodeProcess, stream: string): Promise<Message[]> {
  const messages: Message[] = []
  for (let offset = 0; ; ) {
    const from = `offset=${offset}&max_records=${MAX_RECORDS}`
    const answer = await getJson<RecordsAnswer>(`${node.httpUrl}/v1/streams/${stream}/partitions/0/records?${from}`)
    for (const { topic, value } of answer.records) messages.push({ mqttTopic: topic, payload: value })
    offset = answer.next_offset
    if (offset >= answer.high_watermark) return messages
  }
}
