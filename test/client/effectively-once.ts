// An example: totals of what sensors sent, each record counted exactly once, whatever is killed and when. The place in the stream is kept beside
// the totals and changes with them in one transaction, here of a LevelDB; a table of a SQL database does as well.
//
//   node effectively-once.js URL STREAM DIRECTORY

import { pathToFileURL } from 'node:url'
import { Logger } from '../../src/base/logger.js'
import { type ConsumerRecord, SluiceClient } from '../../src/client/index.js'
import { LevelStateStore } from '../../src/state/state-store.js'

/** Per topic the sum of its payloads, and where to go on: one row each. */
export type Row = { readonly sum: number } | { readonly next: number }

export async function openTotals(directory: string): Promise<LevelStateStore> {
  return LevelStateStore.open({
    directory,
    logger: new Logger('totals'),
    onFatal: (error) => {
      throw error
    },
  })
}

async function main(url: string, stream: string, directory: string): Promise<void> {
  const database = await openTotals(directory)
  const totals = database.table<Row>('totals')
  const start = (await totals.get('next')) as { next: number } | undefined
  if (start) process.stdout.write(`counted up to ${start.next}\n`)
  const client = new SluiceClient({ url })
  for await (const records of client.readPartition({ stream, partition: 0, from: start?.next ?? 0 })) {
    const sums = await added(
      records,
      async (topic) => ((await totals.get(`topic/${topic}`)) as { sum: number })?.sum ?? 0,
    )
    const next = records[records.length - 1].offset + 1
    // Totals and place together, or neither.
    await totals.write([
      ...[...sums].map(([topic, sum]) => ({ put: `topic/${topic}`, value: { sum } })),
      { put: 'next', value: { next } },
    ])
    process.stdout.write(`counted up to ${next}\n`)
  }
}

async function added(
  records: readonly ConsumerRecord[],
  sumOf: (topic: string) => Promise<number>,
): Promise<Map<string, number>> {
  const sums = new Map<string, number>()
  for (const record of records)
    sums.set(record.topic, (sums.get(record.topic) ?? (await sumOf(record.topic))) + Number(record.text()))
  return sums
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const [url, stream, directory] = process.argv.slice(2)
  await main(url, stream, directory)
}
