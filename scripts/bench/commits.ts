// How long a consumer's commit takes over HTTP, beside what a bare fdatasync costs on the same disk just before and after.

import { NodeProcess } from '../../test/helpers/node-process.js'
import type { CommitResult, CommitShape } from './commit-load.js'
import { runLoad } from './run-load.js'
import { ms, SyncBound } from './sync-bound.js'
import { formatTable, type Workload } from './workload.js'

const RATE = 500
const GROUPS = 10
/** A row of offsets, as it lies in LevelDB's log. */
const SYNCED_BYTES = 200

export const commits: Workload = {
  name: 'commits',
  summary: `time to a durable commit at ${RATE} a second, beside a bare fdatasync`,
  async run(options) {
    const { measured, bound } = await SyncBound.around(options, SYNCED_BYTES, async () => {
      options.progress('commits')
      const node = await NodeProcess.start({ core: options.brokerCore })
      try {
        const shape: CommitShape = {
          port: node.httpPort,
          stream: 'mqtt',
          groups: GROUPS,
          commitsPerSecond: RATE,
          warmUpMs: 1000,
          measureMs: options.quick ? 2000 : 20_000,
        }
        return await runLoad<CommitResult>('commit-load', shape, options)
      } finally {
        await node.kill('SIGKILL')
      }
    })
    const rows = [
      ['', 'p50', 'p99', 'max'],
      ['commit', ms(measured.p50Ms), ms(measured.p99Ms), ms(measured.maxMs)],
      [...bound.row(), ''],
    ]
    const text = [
      `Time to a durable commit over HTTP from the intended time of sending, ${RATE} a second by ${GROUPS} groups`,
      '',
      ...formatTable(rows),
      '',
      bound.sentence(measured.p99Ms),
    ]
    return { text, result: { ...measured, ...bound.facts(measured.p99Ms) } }
  },
}
