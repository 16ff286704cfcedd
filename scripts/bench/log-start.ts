// Starting on a million records, after a good end and after SIGKILL, and what memory a large log costs.

import { join } from 'node:path'
import { NodeProcess } from '../../test/helpers/node-process.js'
import { tempDir } from '../../test/helpers/temp-dir.js'
import { KEEP_ALL, megabytes, runJob, startJob } from './log-job.js'
import { dropCaches } from './log-read.js'
import { formatTable, type Workload } from './workload.js'

const AT_MOST_MS = 1000
const AT_MOST_GROWTH_BYTES = 24 * 1024 * 1024
const MB = 1024 * 1024

interface Opened {
  readonly openMs: number
  readonly records: number
  readonly anonymousBytes: number
}

interface Grown {
  readonly stored: number
  /** Of the anonymous memory, in each eighth of what was written. */
  readonly peaks: readonly number[]
}

export const logStart: Workload = {
  name: 'log-start',
  summary: 'starts on a million records, clean and after SIGKILL; memory of a large log',
  async run({ quick, brokerCore: core, progress }) {
    const records = quick ? 200_000 : 1_000_000
    const bytes = quick ? 256 * MB : 2048 * MB
    const open = (data: string) => runJob<Opened>({ data, stream: KEEP_ALL, job: { name: 'open' } }, core)
    const starts: { how: string; openMs: number; readyMs: number | null }[] = []
    for (const killed of [false, true]) {
      progress(killed ? 'starting after SIGKILL' : 'starting after a good end')
      const written = async (): Promise<string> => {
        const data = join(tempDir(), 'data')
        const job = { name: 'append', records, payloadBytes: 100, stay: killed } as const
        const writer = startJob({ data, stream: KEEP_ALL, job }, core)
        await writer.waitFor(/recordsPerSecond.*\n/, 'stdout', 120_000)
        await (killed ? writer.stop('SIGKILL') : writer.ended)
        dropCaches()
        return data
      }
      const opened = await open(await written())
      if (opened.records !== records) throw new Error(`${opened.records} records of ${records} are there`)
      const data = await written()
      const startedAt = performance.now()
      const node = await NodeProcess.start({
        dataDir: data,
        core,
        config: `[[stream]]\nname = "bench"\ntopics = ["#"]\n${KEEP_ALL}`,
      })
      const readyMs = performance.now() - startedAt
      await node.kill()
      starts.push({ how: killed ? 'after SIGKILL' : 'after a good end', openMs: opened.openMs, readyMs })
    }
    progress(`growing to ${megabytes(bytes)}`)
    const empty = await open(join(tempDir(), 'data'))
    const large = join(tempDir(), 'data')
    const grown = await runJob<Grown>({ data: large, stream: KEEP_ALL, job: { name: 'grow', bytes } }, core)
    const full = await open(large)
    const idleGrowth = full.anonymousBytes - empty.anonymousBytes
    const [first, last] = [grown.peaks[0], grown.peaks[grown.peaks.length - 1]]
    const size = megabytes(grown.stored)
    const text = [
      `Starting on ${records} records of 100 B, nothing cached where root, at most ${AT_MOST_MS} ms`,
      '',
      ...formatTable([
        ['', 'log open', 'node ready, from nothing'],
        ...starts.map(({ how, openMs, readyMs }) => [how, `${openMs.toFixed(0)} ms`, `${readyMs?.toFixed(0)} ms`]),
      ]),
      '',
      `Memory that no file backs (RssAnon) as the log grows, at most ${megabytes(AT_MOST_GROWTH_BYTES)} more`,
      '',
      ...formatTable([
        ['', 'before', 'after', 'growth'],
        [
          `opened with nothing, with ${size}`,
          megabytes(empty.anonymousBytes),
          megabytes(full.anonymousBytes),
          megabytes(idleGrowth),
        ],
        [`writing: peak in the first eighth, in the last`, megabytes(first), megabytes(last), megabytes(last - first)],
      ]),
    ]
    const result = {
      records,
      starts: starts.map(({ how, openMs, readyMs }) => ({ how, open_ms: openMs, ready_ms: readyMs })),
      at_most_ms: AT_MOST_MS,
      stored_bytes: grown.stored,
      rss_anon: {
        opened_empty: empty.anonymousBytes,
        opened_full: full.anonymousBytes,
        writing_peaks: grown.peaks,
      },
      at_most_growth_bytes: AT_MOST_GROWTH_BYTES,
    }
    return { text, result }
  },
}
