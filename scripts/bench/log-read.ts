// Reading back what is stored, as stored bytes: what a fetch, a mirror or a new consumer at the beginning of the log costs.

import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { tempDir } from '../../test/helpers/temp-dir.js'
import { KEEP_ALL, megabytes, runJob } from './log-job.js'
import { median } from './statistics.js'
import { formatTable, type Workload } from './workload.js'

const AT_LEAST_RECORDS = 1_000_000

interface Read {
  readonly records: number
  readonly recordsPerSecond: number
  readonly bytesPerSecond: number
}

export const logRead: Workload = {
  name: 'log-read',
  summary: 'reads a million records back as stored bytes, with nothing cached',
  async run({ quick, brokerCore: core, progress }) {
    const records = quick ? 200_000 : 1_000_000
    const data = join(tempDir(), 'data')
    progress('writing')
    const job = { name: 'append', records, payloadBytes: 100, stay: false } as const
    await runJob({ data, stream: KEEP_ALL, job }, core)
    const cold = dropCaches()
    const rates: Read[] = []
    for (let round = 0; round < (quick ? 1 : 3); round++) {
      progress(`reading, round ${round + 1}`)
      dropCaches()
      rates.push(await runJob<Read>({ data, stream: KEEP_ALL, job: { name: 'read' } }, core))
    }
    const perSecond = median(rates.map((one) => one.recordsPerSecond))
    const bytesPerSecond = median(rates.map((one) => one.bytesPerSecond))
    const how = cold ? 'cold: the page cache was dropped' : 'warm: dropping the page cache needs root'
    const text = [
      `Reading ${records} records of 100 B as stored bytes, every batch checked (${how})`,
      '',
      ...formatTable([
        ['', 'records a second', 'bytes a second', 'goal', 'reached'],
        [
          'fetches of 1 MB',
          perSecond.toFixed(0),
          megabytes(bytesPerSecond),
          `${AT_LEAST_RECORDS}`,
          `${(perSecond / AT_LEAST_RECORDS).toFixed(2)}×`,
        ],
      ]),
    ]
    return {
      text,
      result: {
        records,
        cold,
        records_per_second: perSecond,
        bytes_per_second: bytesPerSecond,
        at_least: AT_LEAST_RECORDS,
      },
    }
  },
}

/** @returns false where it is not allowed. */
export function dropCaches(): boolean {
  spawnSync('sync')
  try {
    writeFileSync('/proc/sys/vm/drop_caches', '1')
    return true
  } catch {
    return false
  }
}
