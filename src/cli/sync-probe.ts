// How long the storage takes to make a small write durable: what bounds the latency of every acknowledgement.

import { randomBytes } from 'node:crypto'
import { open, rm } from 'node:fs/promises'
import { join } from 'node:path'

const MAX_ROUNDS = 200
/** On a slow card fewer rounds have to do. */
const MAX_PROBE_MS = 3_000
/** One block, as a commit of a few records. */
const WRITE_BYTES = 4096

export interface SyncTimes {
  readonly rounds: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly maxMs: number
}

/** Appends to a file of its own in `folder`, syncs after every block, and removes the file. @throws what the file system throws. */
export async function measureSync(folder: string): Promise<SyncTimes> {
  const path = join(folder, `.sync-probe-${randomBytes(6).toString('hex')}`)
  const block = randomBytes(WRITE_BYTES)
  const times: number[] = []
  const file = await open(path, 'wx', 0o600)
  try {
    const begunAt = performance.now()
    while (times.length < MAX_ROUNDS && performance.now() - begunAt < MAX_PROBE_MS) {
      await file.write(block)
      const writtenAt = performance.now()
      await file.datasync()
      times.push(performance.now() - writtenAt)
    }
  } finally {
    await file.close()
    await rm(path, { force: true })
  }
  times.sort((a, b) => a - b)
  const quantile = (share: number): number => times[Math.min(times.length - 1, Math.floor(times.length * share))]
  return { rounds: times.length, p50Ms: quantile(0.5), p99Ms: quantile(0.99), maxMs: quantile(1) }
}
