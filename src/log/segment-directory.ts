// The directory of a segment: its name, and which of its files say how far its life has come. Each step of that life (segment.ts) leaves
// the directory such that a crash at any point gives either the segment or nothing.
//
//   no file `live`        nothing in it was acknowledged: removed at start
//   `live`                may hold acknowledged records, and says how many at least: verified and sealed at start
//   `live` and `sealed`   complete, never written again; `sealed` says what is in it
//   name ends .dropped    its removal was begun: finished at start
//   name ends .salvaged   what was sound of a damaged one, to take its place: done at start, or begun anew while that one is there

import { readFile, rename } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { listDirectory, syncDirectory, writeFileDurably } from '../state/durable-files.js'
import { checkWal } from '../state/wal-check.js'
import { META_START } from './keys.js'
import { LIVE_FILE } from './live-file.js'
import { decodeSummary, type SegmentSummary } from './segment-index.js'

export const SEGMENT_NAME = /^\d{12}$/
export const DROPPED_SUFFIX = '.dropped'
export const SALVAGED_SUFFIX = '.salvaged'
const SEALED_FILE = 'sealed'

export function segmentName(sequence: number): string {
  return String(sequence).padStart(12, '0')
}

/** What the file `sealed` says; null if there is none or it is damaged. */
export async function readSealedFile(directory: string): Promise<SegmentSummary | null> {
  try {
    return decodeSummary(await readFile(join(directory, SEALED_FILE)))
  } catch {
    return null
  }
}

/** @param summary As `encodeSummary` gives it. @throws SluiceError as storageError. */
export function writeSealedFile(directory: string, summary: Buffer): Promise<void> {
  return writeFileDurably(join(directory, SEALED_FILE), summary)
}

/** Whether records in this directory may have been acknowledged. Where the file `live` was lost, what else there is tells. */
export async function isLive(directory: string): Promise<boolean> {
  const names = await listDirectory(directory)
  if (names.some((name) => name === LIVE_FILE || name === SEALED_FILE || name.endsWith('.ldb'))) return true
  const { prefixes } = await checkWal(directory)
  return [...prefixes].some((prefix) => prefix !== META_START.readUInt32BE(0))
}

/** From here on the directory is no segment any more, also for a start. @returns where it is now, to be removed. */
export async function beginRemoval(directory: string): Promise<string> {
  const doomed = directory + DROPPED_SUFFIX
  await rename(directory, doomed)
  await syncDirectory(dirname(directory))
  return doomed
}
