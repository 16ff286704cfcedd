// `sluice streams`: what the node stores.

import { defineCommand } from './command.js'
import type { StreamInfo } from './consume-partitions.js'
import { formatBytes, formatCount } from './format.js'
import { type Column, formatTable } from './table.js'

type Partition = StreamInfo['partitions'][number]

const STREAM_COLUMNS: readonly Column<StreamInfo>[] = [
  { title: 'STREAM', value: ({ name }) => name },
  { title: 'PARTITIONS', value: ({ partitions }) => partitions.length },
  {
    title: 'RECORDS',
    value: ({ partitions }) => formatCount(partitions.reduce((sum, each) => sum + countOf(each), 0)),
    align: 'right',
  },
  { title: 'BYTES', value: ({ bytes }) => formatBytes(bytes), align: 'right' },
  { title: 'SEGMENTS', value: ({ segments }) => segments },
  {
    title: 'TOPICS',
    value: ({ topics, origin, via }) => (origin === undefined ? topics.join(' ') : fromOf(origin, via)),
  },
]

const PARTITION_COLUMNS: readonly Column<Partition>[] = [
  { title: 'PARTITION', value: ({ partition }) => partition },
  { title: 'START', value: (each) => each.log_start_offset },
  { title: 'END', value: (each) => each.high_watermark },
  { title: 'RECORDS', value: (each) => formatCount(countOf(each)), align: 'right' },
]

export const command = defineCommand({
  name: 'streams',
  summary: 'list the streams, or the partitions of one',
  usage: ['streams [NAME]'],
  description:
    'START is the oldest offset still stored, END the next one to be written. With --json, one object per line.',
  options: {},
  positionals: { min: 0, max: 1 },
  examples: ['sluice streams', 'sluice streams telemetry'],
  async run({ api, positionals, values, stdout }) {
    const [name] = positionals
    if (name !== undefined) {
      const stream = await api.get<StreamInfo>(`/v1/streams/${encodeURIComponent(name)}`)
      if (values.json) await stdout.json(stream)
      else
        await stdout.write(
          `${formatTable(STREAM_COLUMNS, [stream])}\n${formatTable(PARTITION_COLUMNS, stream.partitions)}`,
        )
      return 0
    }
    const { streams } = await api.get<{ streams: StreamInfo[] }>('/v1/streams')
    if (values.json) for (const stream of streams) await stdout.json(stream)
    else await stdout.write(formatTable(STREAM_COLUMNS, streams))
    return 0
  },
})

function fromOf(origin: string, via: string | undefined): string {
  return via === undefined || via === origin ? `from ${origin}` : `from ${origin} by ${via}`
}

function countOf({ log_start_offset: start, high_watermark: end }: Partition): number {
  return end - start
}
