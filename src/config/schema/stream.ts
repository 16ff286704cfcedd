// [[stream]]: a named log, what is routed into it, what is kept of it.

import { topicFilterProblem } from '../../base/topic-filter.js'
import { bytes, choice, duration, integer, list, parsed, table } from '../fields.js'
import { quote, Unfit } from '../unfit.js'
import { name } from './names.js'

const topicFilter = parsed({ description: 'An MQTT topic filter.' }, (written) => {
  const problem = topicFilterProblem(written)
  if (problem !== null) return new Unfit(`has the topic filter ${quote(written)}, which ${problem}`)
  return written.startsWith('$share/')
    ? new Unfit(`has ${quote(written)}: shared subscriptions do not route`, 'write the filter after $share/GROUP/')
    : written
})

const STREAM_KEY = /^(topic|client|level:[1-9]\d?)$/
export type StreamKey = 'topic' | 'client' | `level:${number}`

export const retentionFields = {
  max_bytes: bytes({
    description: 'Most bytes kept on disk; the oldest go first.',
    default: '1GB',
    min: '1MB',
    max: '1024TB',
  }),
  max_age: duration({
    description: 'Records older than this are removed, by the time the node was switched on. Default: no limit.',
    optional: true,
    min: '1s',
    max: '36500d',
  }),
  on_full: choice({
    description:
      'When records that an upstream still needs fill the stream: drop the oldest and name them in the ledger, or accept no more.',
    of: ['drop_oldest', 'reject'],
    default: 'drop_oldest',
  }),
}

export const streamFields = {
  name: name('What programs and upstreams call the stream.'),
  topics: list({
    description: 'MQTT topic filters; the first stream whose filter matches takes a message.',
    of: topicFilter,
    minItems: 1,
    maxItems: 1000,
  }),
  partitions: integer({
    description: 'Into how many ordered sequences the stream is divided. It can only grow.',
    default: 1,
    min: 1,
    max: 256,
  }),
  key: parsed(
    {
      description:
        'What decides the partition: the MQTT topic, the client id, or the Nth level of the topic, counted from 1.',
      default: 'topic',
      json: { type: 'string', pattern: STREAM_KEY.source },
    },
    (written) =>
      STREAM_KEY.test(written)
        ? (written as StreamKey)
        : new Unfit(`is ${quote(written)}`, 'write "topic", "client" or "level:N", N from 1 to 99'),
  ),
  retention: table('What is kept, and what happens when there is no room.', retentionFields),
  compression: choice({
    description: 'How record batches are stored and forwarded, where it saves at least 15 %; zstd needs Node.js 22.15.',
    of: ['none', 'gzip', 'zstd'],
    default: 'none',
  }),
  linger_ms: integer({
    description: 'How long a commit waits for more records, milliseconds: later acks, fewer writes to the disk.',
    default: 0,
    min: 0,
    max: 60_000,
  }),
}
