// `sluice verify`: reads back what is stored and names what is damaged.

import { SluiceError } from '../base/errors.js'
import type { DamagedRange } from '../log/verify.js'
import { type CommandContext, defineCommand, integerOption, UsageError } from './command.js'
import { CONFIG_OPTIONS, configFor } from './config-source.js'
import { formatBytes, formatCount, formatDuration } from './format.js'
import { ProgressBar } from './progress-bar.js'
import { type Column, formatTable } from './table.js'
import { dataDirectory, runningNode, type VerifySource } from './verify-source.js'
import { type VerifiedPartition, verifyAll } from './verify-walk.js'

const OPTIONS = {
  ...CONFIG_OPTIONS,
  data: { type: 'string', short: 'd', value: 'DIR', description: 'this data directory, which no node uses' },
  config: { type: 'string', short: 'c', value: 'FILE', description: 'the data directory of this configuration' },
  stream: { type: 'string', value: 'NAME', description: 'only this stream' },
  partition: { type: 'string', short: 'p', value: 'N', description: 'only this partition (of each stream)' },
  sample: { type: 'string', value: 'P%', description: 'only so much, spread evenly over each partition: 10%' },
} as const

interface Row extends DamagedRange {
  readonly stream: string
  readonly partition: number
}

const COLUMNS: readonly Column<Row>[] = [
  { title: 'STREAM', value: ({ stream }) => stream },
  { title: 'PARTITION', value: ({ partition }) => partition },
  { title: 'FIRST', value: ({ firstOffset }) => firstOffset },
  { title: 'LAST', value: ({ lastOffset }) => lastOffset },
  { title: 'RECORDS', value: (range) => formatCount(countOf(range)), align: 'right' },
  { title: 'DAMAGE', value: ({ known }) => (known ? 'known' : 'new') },
  { title: 'PROBLEM', value: ({ problem }) => problem },
]

export const command = defineCommand({
  name: 'verify',
  summary: 'read back what is stored and name what is damaged',
  usage: [
    'verify [--stream NAME] [--partition N] [--sample P%]',
    'verify --data DIR | --config FILE [--stream NAME] …',
  ],
  description:
    'Checks length, checksum and offsets of every record batch and decodes every record. Exit code 1 if anything is damaged.\n' +
    'New damage is entered into the ledger; what was there before is shown as known.\n' +
    'Without --data and --config the running node does it beside its work; with one of them no node may be running. What a crash\n' +
    'has left unfinished is recovered first, as at a start; retention does not run.',
  options: OPTIONS,
  examples: ['sluice verify', 'sluice verify --sample 10%  # a quick look', 'sluice verify --data /mnt/copy --json'],
  async run(context) {
    const { values, stdout, stderr } = context
    const partition = integerOption('partition', values.partition, { max: 0x7fff_ffff })
    const sample = sampleOf(values.sample)
    const progress = new ProgressBar(stderr)
    const startedAtMs = performance.now()
    const source = await sourceOf(context, progress)
    try {
      const { stream } = values
      const onProgress = progress.show.bind(progress)
      const partitions = await verifyAll(source, { stream, partition, sample, random: Math.random, onProgress })
      if (partitions.length === 0 && (stream ?? partition) !== undefined) throw nothingChosen(stream, partition)
      await progress.clear()
      const damaged = partitions.some(({ damage }) => damage.length > 0)
      const elapsedMs = performance.now() - startedAtMs
      if (values.json) await stdout.json(asJson(partitions, sample, elapsedMs))
      else {
        if (damaged) await stdout.write(formatTable(COLUMNS, rowsOf(partitions)))
        await stderr.line(summaryOf(partitions, sample, elapsedMs))
      }
      return damaged ? 1 : 0
    } finally {
      await progress.clear()
      await source.close()
    }
  },
})

async function sourceOf(context: CommandContext<typeof OPTIONS>, progress: ProgressBar): Promise<VerifySource> {
  const { values, api, stderr } = context
  if (values.data === undefined && values.config === undefined) return runningNode(api)
  return dataDirectory(await configFor(context), (line) => void progress.clear().then(() => stderr.write(line)))
}

function sampleOf(text: string | undefined): number {
  if (text === undefined) return 1
  const percent = /^\d{1,3}(\.\d+)?%$/.test(text) ? Number.parseFloat(text) : Number.NaN
  if (percent > 0 && percent <= 100) return percent / 100
  throw new UsageError(`--sample takes a percentage above 0% and up to 100%, not ${JSON.stringify(text)}`)
}

function nothingChosen(stream: string | undefined, partition: number | undefined): SluiceError {
  const where = `${partition === undefined ? '' : `partition ${partition} of `}${stream === undefined ? 'any stream' : `stream ${stream}`}`
  return new SluiceError('UNKNOWN_STREAM_OR_PARTITION', `there is no ${where}; see: sluice streams`, {
    stream,
    partition,
  })
}

function summaryOf(partitions: readonly VerifiedPartition[], sample: number, elapsedMs: number): string {
  const { records, bytes, batches } = totalsOf(partitions)
  const what = `${formatCount(records)} records in ${formatCount(batches)} batches (${formatBytes(bytes)})`
  const took = `${sample < 1 ? `, a sample of ${sample * 100}%,` : ''} in ${formatDuration(elapsedMs)}`
  const rows = rowsOf(partitions)
  if (rows.length === 0) return `${what} checked${took}: all of it is good.`
  const count = (known: boolean): string =>
    formatCount(rows.filter((row) => row.known === known).reduce((sum, row) => sum + countOf(row), 0))
  return `${what} are good, checked${took}. Damaged: ${count(false)} records newly found, ${count(true)} known before.`
}

function asJson(partitions: readonly VerifiedPartition[], sample: number, elapsedMs: number): unknown {
  return {
    ok: partitions.every(({ damage }) => damage.length === 0),
    ...totalsOf(partitions),
    sample,
    duration_ms: Math.round(elapsedMs),
    partitions: partitions.map(({ stream, partition, firstOffset, endOffset, records, bytes, batches, damage }) => ({
      stream,
      partition,
      first_offset: firstOffset,
      end_offset: endOffset,
      records,
      bytes,
      batches,
      damage: damage.map((range) => ({
        first_offset: range.firstOffset,
        last_offset: range.lastOffset,
        records: countOf(range),
        problem: range.problem,
        known: range.known,
      })),
    })),
  }
}

function totalsOf(partitions: readonly VerifiedPartition[]): { records: number; bytes: number; batches: number } {
  const total = { records: 0, bytes: 0, batches: 0 }
  for (const { records, bytes, batches } of partitions) {
    total.records += records
    total.bytes += bytes
    total.batches += batches
  }
  return total
}

function rowsOf(partitions: readonly VerifiedPartition[]): Row[] {
  return partitions.flatMap(({ stream, partition, damage }) => damage.map((range) => ({ stream, partition, ...range })))
}

function countOf({ firstOffset, lastOffset }: DamagedRange): number {
  return lastOffset - firstOffset + 1
}
