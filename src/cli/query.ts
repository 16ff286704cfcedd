// `sluice query`: find records by time and by MQTT topic.

import { parseStartPosition, START_POSITION_HELP } from '../base/start-position.js'
import { topicFilterProblem } from '../base/topic-filter.js'
import { defineCommand, integerOption, UsageError } from './command.js'
import type { StreamInfo } from './consume-partitions.js'
import { ProgressBar } from './progress-bar.js'
import { type ApiRecord, recordFormatter } from './record-format.js'
import { RecordPrinter } from './record-printer.js'

const MAX_RECORDS_PER_REQUEST = 1_000

interface Page {
  readonly records: readonly ApiRecord[]
  readonly next_offset: number
  readonly end_offset: number
  readonly scanned_bytes: number
  readonly done: boolean
}

export const command = defineCommand({
  name: 'query',
  summary: 'find records of a stream by time and MQTT topic',
  usage: ['query STREAM [--topic FILTER] [--from WHERE] [--until WHERE] [--partition N] [--count N]'],
  description:
    'WHERE is earliest, latest, an offset, or @TIME (ISO 8601, or milliseconds since 1970). --until is exclusive. Partitions come one\n' +
    'after the other. Formats are those of sluice consume.',
  options: {
    topic: { type: 'string', short: 't', value: 'FILTER', description: 'an MQTT topic, or a filter with + and #' },
    from: { type: 'string', short: 'o', value: 'WHERE', default: 'earliest', description: 'where to begin' },
    until: { type: 'string', value: 'WHERE', default: 'latest', description: 'where to end' },
    partition: { type: 'string', short: 'p', value: 'N', description: 'only this partition' },
    count: { type: 'string', short: 'c', value: 'N', description: 'end after N records' },
    format: { type: 'string', short: 'f', value: 'FORMAT', description: 'json, raw (default), or a template' },
  },
  positionals: { min: 1, max: 1 },
  examples: [
    'sluice query mqtt --topic sensors/+/temp --from @2026-01-31T06:00 --until @2026-01-31T07:00',
    'sluice query mqtt --topic alarms/boiler --count 10 --json',
  ],
  async run({ values, positionals, api, stdout, stderr, signal }) {
    const count = integerOption('count', values.count, { min: 1 }) ?? Number.POSITIVE_INFINITY
    const only = integerOption('partition', values.partition, { max: 0x7fff_ffff })
    const problem = values.topic === undefined ? null : topicFilterProblem(values.topic)
    if (problem !== null) throw new UsageError(`the topic filter ${JSON.stringify(values.topic)} ${problem}`)
    const [from, untilText] = [whereOf('from', values.from), whereOf('until', values.until)]
    const format = recordFormatter(values.json === true ? 'json' : (values.format ?? 'raw'), stdout.isTty)
    const printer = new RecordPrinter(stdout, format, count)
    const progress = new ProgressBar(stderr)
    try {
      const stream = await api.get<StreamInfo>(`/v1/streams/${encodeURIComponent(positionals[0])}`, { signal })
      const partitions = stream.partitions.filter(({ partition }) => only === undefined || partition === only)
      const totalRecords = partitions.reduce((sum, each) => sum + each.high_watermark - each.log_start_offset, 0)
      let before = 0
      let bytes = 0
      for (const { partition, log_start_offset: start, high_watermark: end } of partitions) {
        const path = `/v1/streams/${stream.name}/partitions/${partition}/query`
        let offset: number | undefined
        let until = untilText
        for (;;) {
          const query = {
            topic: values.topic,
            from,
            until,
            offset,
            max_records: Math.min(MAX_RECORDS_PER_REQUEST, printer.missing),
          }
          const page = await api.get<Page>(path, { query, signal })
          bytes += page.scanned_bytes
          // What comes meanwhile is for another query: this one ends.
          if (until === 'latest') until = String(page.end_offset)
          await progress.clear()
          const printed = await printer.print(page.records)
          if (printed.length < page.records.length) signal.throwIfAborted()
          if (printer.isDone) return 0
          offset = page.next_offset
          if (page.done) break
          await progress.show({ records: before + offset - start, totalRecords, bytes, totalBytes: 0 })
        }
        before += end - start
      }
    } catch (error) {
      if (!signal.aborted) throw error
    } finally {
      await progress.clear()
    }
    return signal.aborted ? 1 : 0
  },
})

/** In the form the node takes; a time without a zone is local here, not where the node runs. */
function whereOf(name: string, text: string): string {
  const position = parseStartPosition(text)
  if (position === null) throw new UsageError(`--${name} takes ${START_POSITION_HELP}, not ${JSON.stringify(text)}`)
  return position.at === 'time' ? `@${position.timestampMs}` : text
}
