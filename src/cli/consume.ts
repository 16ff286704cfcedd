// `sluice consume`: print what a stream holds, from a place or as a member of a group.

import { parseStartPosition, START_POSITION_HELP } from '../base/start-position.js'
import { defineCommand, integerOption, UsageError } from './command.js'
import { consumeGroup } from './consume-group.js'
import { consumePartitions, type StreamInfo } from './consume-partitions.js'
import { recordFormatter } from './record-format.js'
import { RecordPrinter } from './record-printer.js'

const GROUP_ID = /^(?!\.{1,2}$)[A-Za-z0-9._-]{1,249}$/

export const command = defineCommand({
  name: 'consume',
  summary: 'print the records of a stream',
  usage: [
    'consume STREAM [--from WHERE] [--follow] [--partition N]',
    'consume STREAM --group G [--from WHERE] [--count N]',
  ],
  description:
    'Without --group: reads from --from (earliest; with --follow, latest) to the end of every partition, one after the other. With\n' +
    '--follow or --count it waits for more at the end. Nothing is remembered.\n' +
    'With --group: goes on where the group left off, shares the partitions with its other members, waits for more, and commits\n' +
    'what it has printed. --from only says where a group begins that has no offsets yet (earliest).\n' +
    "Formats: raw is the payload and a newline; json one object a line; a template is in kcat's letters: %t stream, %p partition,\n" +
    '%o offset, %T time in ms, %k MQTT topic, %s payload, %K %S their lengths, %h headers, with \\n \\t \\r \\xHH.',
  options: {
    group: { type: 'string', short: 'g', value: 'G', description: 'read as a member of this consumer group' },
    partition: { type: 'string', short: 'p', value: 'N', description: 'only this partition' },
    from: { type: 'string', short: 'o', value: 'WHERE', description: 'earliest, latest, an offset, or @TIME' },
    count: { type: 'string', short: 'c', value: 'N', description: 'end after N records, waiting for them if need be' },
    follow: { type: 'boolean', description: 'wait for more at the end' },
    format: { type: 'string', short: 'f', value: 'FORMAT', description: 'json, raw (default), or a template' },
  },
  positionals: { min: 1, max: 1 },
  examples: [
    'sluice consume mqtt  # everything there is',
    'sluice consume mqtt --follow -f "%T %k %s\\n"  # what comes from now on',
    'sluice consume mqtt --group report --count 100  # the next hundred, for this group',
    'sluice consume mqtt --from @2026-01-31T06:00 --json',
  ],
  async run({ values, positionals, api, stdout, stderr, signal }) {
    const count = integerOption('count', values.count, { min: 1 })
    const partition = integerOption('partition', values.partition, { max: 0x7fff_ffff })
    const { group } = values
    if (group !== undefined && partition !== undefined)
      throw new UsageError('--partition cannot be used with --group: the group gives each member its partitions')
    if (group !== undefined && !GROUP_ID.test(group))
      throw new UsageError(`--group takes letters, digits, ".", "_" and "-", not ${JSON.stringify(group)}`)
    const from = startOf(values.from ?? (values.follow === true && group === undefined ? 'latest' : 'earliest'))
    const format = recordFormatter(values.json === true ? 'json' : (values.format ?? 'raw'), stdout.isTty)
    const printer = new RecordPrinter(stdout, format, count ?? Number.POSITIVE_INFINITY)
    try {
      const stream = await api.get<StreamInfo>(`/v1/streams/${encodeURIComponent(positionals[0])}`, { signal })
      const common = { api, from, printer, stderr, signal }
      if (group !== undefined) await consumeGroup({ ...common, stream: stream.name, group })
      else {
        const follow = values.follow === true || count !== undefined
        await consumePartitions({ ...common, stream, partition, follow })
      }
    } catch (error) {
      if (!signal.aborted) throw error
    }
    // Stopped from outside: that is how a reading without an end ends, but not one that was to bring a number of records.
    return count === undefined || printer.isDone ? 0 : 1
  },
})

/** In the form the node takes; a time without a zone is local here, not where the node runs. */
function startOf(text: string): string {
  const start = parseStartPosition(text)
  if (start === null) throw new UsageError(`--from takes ${START_POSITION_HELP}, not ${JSON.stringify(text)}`)
  return start.at === 'time' ? `@${start.timestampMs}` : text
}
