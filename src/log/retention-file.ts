// A stream's retention, kept beside its segments in `retention.json`, so that its limits still hold once it has left the configuration.

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { makeDirectory, writeFileDurably } from '../state/durable-files.js'
import type { RetentionPolicy } from './retention.js'

const FILE = 'retention.json'
const WITHOUT_LIMITS: RetentionPolicy = { maxBytes: Number.POSITIVE_INFINITY, maxAgeMs: null, onFull: 'drop_oldest' }

/** Writes the file if it does not say so already. */
export async function keepPolicy(directory: string, { maxBytes, maxAgeMs, onFull }: RetentionPolicy): Promise<void> {
  const text = `${JSON.stringify({ maxBytes, maxAgeMs, onFull })}\n`
  if ((await textOf(directory)) === text) return
  await makeDirectory(directory)
  await writeFileDurably(join(directory, FILE), Buffer.from(text))
}

/** What was kept; no limits where it cannot be read: then nothing is removed that somebody may want. */
export async function keptPolicy(directory: string): Promise<RetentionPolicy> {
  try {
    const { maxBytes, maxAgeMs } = JSON.parse((await textOf(directory)) ?? '') as RetentionPolicy
    // Nobody will catch up with a stream that takes no records: it goes when its time has come.
    return { maxBytes, maxAgeMs, onFull: 'drop_oldest' }
  } catch {
    return WITHOUT_LIMITS
  }
}

function textOf(directory: string): Promise<string | null> {
  return readFile(join(directory, FILE), 'utf8').catch(() => null)
}
