// What the storage under a benchmark is, and what a bare fdatasync costs on it: without that, no figure of a broker that syncs means anything.

import { closeSync, fdatasyncSync, openSync, rmSync, statfsSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { quantile } from './statistics.js'

export interface StorageProbe {
  readonly fileSystem: string
  /** Of appends, of 4 KB unless told otherwise, each followed by fdatasync. */
  readonly fdatasyncP50Ms: number
  readonly fdatasyncP99Ms: number
}

const APPENDS = 400
const MAGIC: Readonly<Record<number, string>> = {
  61267: 'ext4',
  16914836: 'tmpfs (memory: fdatasync costs nothing here)',
  1481003842: 'xfs',
  2435016766: 'btrfs',
  2035054128: 'overlayfs',
}

/** @param appends How many are tried, @param appendBytes each of this size. */
export function probeStorage(folder: string, appends = APPENDS, appendBytes = 4096): StorageProbe {
  const path = join(folder, 'fdatasync-probe')
  const file = openSync(path, 'w')
  const block = Buffer.alloc(appendBytes, 1)
  const durations: number[] = []
  try {
    for (let i = 0; i < appends; i++) {
      const startedAt = performance.now()
      writeSync(file, block)
      fdatasyncSync(file)
      durations.push(performance.now() - startedAt)
    }
  } finally {
    closeSync(file)
    rmSync(path)
  }
  const { type } = statfsSync(folder)
  return {
    fileSystem: MAGIC[type] ?? `type 0x${type.toString(16)}`,
    fdatasyncP50Ms: quantile(durations, 0.5),
    fdatasyncP99Ms: quantile(durations, 0.99),
  }
}
