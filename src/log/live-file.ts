// The file `live` of a segment: there from the segment's birth on, and a witness of how far it came (witness-file.ts). LevelDB's log cannot tell
// an end that was cut off from one that was never written, nor can a segment tell that its successor is gone.
//
// `count` is that of the puts and deletes that are synced in 000003.log, the log the segment was born with, which is LevelDB's sequence number
// too. `succeeded` is set once records in the next segment may have been acknowledged.

import { join } from 'node:path'
import { listDirectory } from '../state/durable-files.js'
import type { WalCheck } from '../state/wal-check.js'
import { createWitness, readWitness, type Witness, WitnessFile } from '../state/witness-file.js'

export const LIVE_FILE = 'live'
const FIRST_LOG = '000003.log'

/** Makes the file; durable when it resolves. @throws SluiceError as storageError. */
export function createLiveFile(directory: string, witness: Witness): Promise<void> {
  return createWitness(join(directory, LIVE_FILE), witness)
}

/** @throws SluiceError as storageError. */
export function openLiveFile(directory: string): Promise<WitnessFile> {
  return WitnessFile.open(join(directory, LIVE_FILE))
}

/** @returns null if the file is missing or damaged: then nothing is known. */
export function readLiveFile(directory: string): Promise<Witness | null> {
  return readWitness(join(directory, LIVE_FILE))
}

/** Whether the log that the segment was born with is there: until it is a table, nothing was written anywhere else. */
export async function hasFirstLog(directory: string): Promise<boolean> {
  return (await listDirectory(directory)).includes(FIRST_LOG)
}

/** Whether the log of a segment that was not sealed ends before what was acknowledged out of it, or nobody knows. */
export async function lacksAcknowledged(directory: string, { lastSequence }: WalCheck): Promise<boolean> {
  const witness = await readLiveFile(directory)
  if (witness === null) return true
  // Once a start, or a seal, has had LevelDB make a table of it, the log is gone; if it is missing without that, LevelDB says so.
  return lastSequence < witness.count && (await hasFirstLog(directory))
}

/** Says of a segment that is not written any more that there is a next one. Durable when it resolves. */
export async function markSucceeded(directory: string): Promise<void> {
  const witness = await readLiveFile(directory)
  if (witness === null) return createLiveFile(directory, { count: 0, succeeded: true })
  const file = await openLiveFile(directory)
  file.note({ ...witness, succeeded: true })
  await file.close({ sync: true })
}
