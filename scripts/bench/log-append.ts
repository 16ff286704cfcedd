// Appending: how much of a bare write+fdatasync loop is left at commits of 16 KB, and how many small records a core takes when commits are
// large. Every figure is durable: it counts what fdatasync has confirmed.

import { join } from 'node:path'
import { tempDir } from '../../test/helpers/temp-dir.js'
import { KEEP_ALL, megabytes, runJob } from './log-job.js'
import { median } from './statistics.js'
import { formatTable, type Workload } from './workload.js'

const BATCH_BYTES = 16 * 1024
const AT_LEAST_OF_BARE = 0.5
const AT_LEAST_RECORDS = 1_000_000

interface Rate {
  readonly bytesPerSecond: number
  readonly batchesPerSecond: number
  readonly batchBytes: number
}

interface Appended {
  readonly recordsPerSecond: number
  readonly bytesPerCommit: number
}

export const logAppend: Workload = {
  name: 'log-append',
  summary: 'appends to the log, beside a bare write+fdatasync loop',
  async run({ quick, brokerCore: core, progress }) {
    const rounds = quick ? 1 : 3
    const seconds = quick ? 0.5 : 3
    const records = quick ? 300_000 : 3_000_000
    const rates = { bare: [] as number[], ours: [] as number[], appends: [] as number[] }
    let batchBytes = BATCH_BYTES
    let commitBytes = 0
    // In turns, so that a slow minute of the disk hits both.
    for (let round = 1; round <= rounds; round++) {
      progress(`round ${round} of ${rounds}`)
      const data = () => join(tempDir(), 'data')
      const job = { name: 'batches', batchBytes: BATCH_BYTES, seconds } as const
      const ours = await runJob<Rate>({ data: data(), stream: KEEP_ALL, job }, core)
      batchBytes = Math.round(ours.batchBytes)
      const bare = await runJob<Rate>({ data: data(), job: { name: 'bare', batchBytes, seconds } }, core)
      rates.ours.push(ours.batchesPerSecond)
      rates.bare.push(bare.batchesPerSecond)
      const many = { name: 'append', records, payloadBytes: 100, stay: false } as const
      const appended = await runJob<Appended>({ data: data(), stream: KEEP_ALL, job: many }, core)
      rates.appends.push(appended.recordsPerSecond)
      commitBytes = appended.bytesPerCommit
    }
    const [ours, bare, appends] = [median(rates.ours), median(rates.bare), median(rates.appends)]
    const text = [
      'Appending to the log (median of the rounds); durable: counted once fdatasync has returned',
      '',
      ...formatTable([
        ['', 'a second', 'bytes a second', 'goal', 'reached'],
        [`bare write+fdatasync of ${batchBytes} B`, bare.toFixed(0), megabytes(bare * batchBytes), '', ''],
        [
          `commits of ${batchBytes} B`,
          ours.toFixed(0),
          megabytes(ours * batchBytes),
          `${AT_LEAST_OF_BARE}× bare`,
          `${(ours / bare).toFixed(2)}×`,
        ],
        [
          `records of 100 B, commits of ${megabytes(commitBytes)}`,
          appends.toFixed(0),
          '',
          AT_LEAST_RECORDS.toFixed(0),
          `${(appends / AT_LEAST_RECORDS).toFixed(2)}×`,
        ],
      ]),
    ]
    const result = {
      batch_bytes: batchBytes,
      bare_per_second: bare,
      commits_per_second: ours,
      ratio: ours / bare,
      at_least_ratio: AT_LEAST_OF_BARE,
      records_per_second: appends,
      at_least_records_per_second: AT_LEAST_RECORDS,
    }
    return { text, result }
  },
}
