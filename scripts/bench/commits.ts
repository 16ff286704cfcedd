// How long a consumer's commit takes over HTTP, beside what a bare fdatasync costs on the same disk just before and after.

import { tmpdir } from 'node:os'
import { NodeProcess } from '../../test/helpers/node-process.js'
import type { CommitResult, CommitShape } from './commit-load.js'
import { runLoad } from './run-load.js'
import { probeStorage } from './storage-probe.js'
import { formatTable, type Workload } from './workload.js'

const RATE = 500
const GROUPS = 10
/** A row of offsets, as it lies in LevelDB's log. */
const SYNCED_BYTES = 200
const ALLOWANCE_MS = 2

export const commits: Workload = {
  name: 'commits',
  summary: `time to a durable commit at ${RATE} a second, beside a bare fdatasync`,
  async run(options) {
    const probe = () => probeStorage(tmpdir(), options.quick ? 1000 : 5000, SYNCED_BYTES)
    const before = probe()
    options.progress('commits')
    const node = await NodeProcess.start({ core: options.brokerCore })
    let measured: CommitResult
    try {
      const shape: CommitShape = {
        port: node.httpPort,
        stream: 'mqtt',
        groups: GROUPS,
        commitsPerSecond: RATE,
        warmUpMs: 1000,
        measureMs: options.quick ? 2000 : 20_000,
      }
      measured = await runLoad<CommitResult>('commit-load', shape, options)
    } finally {
      await node.kill('SIGKILL')
    }
    const after = probe()
    const syncP99Ms = Math.max(before.fdatasyncP99Ms, after.fdatasyncP99Ms)
    const bound = 2 * syncP99Ms + ALLOWANCE_MS
    const kept = measured.p99Ms <= bound
    const rows = [
      ['', 'p50', 'p99', 'max'],
      ['commit', ms(measured.p50Ms), ms(measured.p99Ms), ms(measured.maxMs)],
      [
        `fdatasync after ${SYNCED_BYTES} B`,
        ms(Math.max(before.fdatasyncP50Ms, after.fdatasyncP50Ms)),
        ms(syncP99Ms),
        '',
      ],
    ]
    const text = [
      `Time to a durable commit over HTTP from the intended time of sending, ${RATE} a second by ${GROUPS} groups`,
      '',
      ...formatTable(rows),
      '',
      `Bound: p99 ≤ 2 × ${ms(syncP99Ms)} + ${ALLOWANCE_MS} ms = ${ms(bound)}: ${kept ? 'kept' : 'NOT kept'}.`,
    ]
    return { text, result: { ...measured, fdatasync_p99_ms: syncP99Ms, bound_ms: bound, kept } }
  },
}

const ms = (value: number): string => `${value.toFixed(2)} ms`
