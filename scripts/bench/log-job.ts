// Runs a job of log-worker.ts, on a core of its own where cores can be given.

import { join } from 'node:path'
import { Program } from '../../test/helpers/program.js'
import type { LogJob } from './log-worker.js'

export function startJob(job: LogJob, core: number | undefined): Program {
  const args =
    process.env['BENCH_CPU_PROFILE'] === undefined
      ? []
      : ['--cpu-prof', '--cpu-prof-dir', process.env['BENCH_CPU_PROFILE']]
  return new Program(process.execPath, [...args, join(import.meta.dirname, 'log-worker.js'), JSON.stringify(job)], {
    core,
  })
}

/** The result of a job that ends by itself. */
export async function runJob<T>(job: LogJob, core: number | undefined): Promise<T> {
  const program = startJob(job, core)
  const { code } = await program.ended
  if (code !== 0) throw new Error(`the job ${job.job.name} failed:\n${program.stderr}`)
  return JSON.parse(program.stdout) as T
}

/** Enough of everything that retention does not come in between. */
export const KEEP_ALL = 'retention = { max_bytes = "64GB" }'

export function megabytes(bytes: number): string {
  return `${(bytes / 1024 / 1024).toFixed(1)} MB`
}
