// `sluice produce`: publish, and come back once every message is on the node's disk.

import { isUtf8 } from 'node:buffer'
import { SluiceError } from '../base/errors.js'
import { topicMatches, topicNameProblem } from '../base/topic-filter.js'
import type { ApiClient } from './api-client.js'
import { defineCommand, integerOption, UsageError } from './command.js'
import type { StreamInfo } from './consume-partitions.js'
import { formatCount } from './format.js'
import { linesOf } from './line-splitter.js'
import type { Output } from './output.js'

const MAX_RECORDS_PER_REQUEST = 1_000
const MAX_BYTES_PER_REQUEST = 1024 * 1024
const MAX_LINE_BYTES = 1024 * 1024
const PROGRESS_MS = 200

interface Message {
  readonly topic: string
  readonly qos: number
  readonly retain: boolean
}

export const command = defineCommand({
  name: 'produce',
  summary: 'publish messages',
  usage: ['produce --topic T [-q QOS] [-r] -m TEXT', 'produce --topic T [-q QOS] -l'],
  description:
    'Publishes to the stream that takes the MQTT topic, as a device would, and ends once every message is on disk. With -l each line\n' +
    'of the standard input is a message, sent as it comes.',
  options: {
    topic: { type: 'string', short: 't', value: 'T', description: 'the MQTT topic' },
    qos: {
      type: 'string',
      short: 'q',
      value: 'QOS',
      default: '1',
      description: '0, 1 (default) or 2: how subscribers get it',
    },
    message: { type: 'string', short: 'm', value: 'TEXT', description: 'the payload' },
    lines: { type: 'boolean', short: 'l', description: 'a message for each line of the standard input' },
    retain: { type: 'boolean', short: 'r', description: 'keep it as the last known value of the topic' },
  },
  examples: ['sluice produce -t sensors/1/temp -m 21.5', 'tail -f readings.log | sluice produce -t plant/log -l'],
  async run({ values, api, stdin, stdout, stderr }) {
    const { topic, message } = values
    if (topic === undefined) throw new UsageError('--topic is missing: the MQTT topic to publish to')
    const problem = topicNameProblem(topic)
    if (problem !== null) throw new UsageError(`--topic ${JSON.stringify(topic)} ${problem}`)
    if ((message === undefined) === (values.lines !== true))
      throw new UsageError('give either -m TEXT, or -l to read lines')
    const qos = integerOption('qos', values.qos, { max: 2 }) ?? 1
    const stream = await streamOf(api, topic)
    const publisher = new Publisher(api, stream, { topic, qos, retain: values.retain === true })
    const progress = startProgress(publisher, stderr)
    try {
      if (message !== undefined) await publisher.publish([Buffer.from(message)])
      else
        for await (const lines of linesOf(stdin, MAX_LINE_BYTES)) {
          await publisher.publish(lines)
        }
    } catch (error) {
      if (values.lines === true && publisher.published > 0)
        await stderr.line(`${formatCount(publisher.published)} messages were published before this:`)
      throw error
    } finally {
      await progress.stop()
    }
    if (values.json === true) await stdout.json({ stream, topic, messages: publisher.published })
    else if (values.lines === true)
      await stderr.line(`Published ${formatCount(publisher.published)} messages to stream ${stream}.`)
    return 0
  },
})

async function streamOf(api: ApiClient, topic: string): Promise<string> {
  const { streams } = await api.get<{ streams: StreamInfo[] }>('/v1/streams')
  const stream = streams.find(({ topics }) => topics.some((filter) => topicMatches(filter, topic)))
  if (stream !== undefined) return stream.name
  const known = streams.flatMap(({ name, topics }) => topics.map((filter) => `${filter} (${name})`))
  throw new SluiceError(
    'INVALID_TOPIC',
    `no stream takes the topic ${JSON.stringify(topic)}; there are: ${known.join(', ')}; see [[stream]] topics in the node's configuration`,
    { topic },
  )
}

class Publisher {
  published = 0

  constructor(
    private readonly api: ApiClient,
    private readonly stream: string,
    private readonly message: Message,
  ) {}

  /** In order: a request is sent when the one before it is durable. */
  async publish(payloads: readonly Buffer[]): Promise<void> {
    for (let start = 0; start < payloads.length; ) {
      let bytes = 0
      let end = start
      while (end < payloads.length && end - start < MAX_RECORDS_PER_REQUEST && bytes <= MAX_BYTES_PER_REQUEST)
        bytes += payloads[end++].length
      const records = payloads.slice(start, end).map((payload) => ({ ...this.message, ...bodyOf(payload) }))
      await this.api.post(`/v1/streams/${this.stream}/records`, { records })
      this.published += records.length
      start = end
    }
  }
}

function bodyOf(payload: Buffer): { value: string } | { value_base64: string } {
  return isUtf8(payload) ? { value: payload.toString('utf8') } : { value_base64: payload.toString('base64') }
}

/** A counter for a person who waits; nothing where stderr is a file. */
function startProgress(publisher: Publisher, stderr: Output): { stop(): Promise<void> } {
  if (!stderr.isTty) return { stop: async () => {} }
  let shown = false
  const timer = setInterval(() => {
    shown = true
    void stderr.write(`\r${formatCount(publisher.published)} messages`)
  }, PROGRESS_MS)
  return {
    async stop() {
      clearInterval(timer)
      if (shown) await stderr.write('\r\x1b[K')
    },
  }
}
