// Reads out of a LevelDB's write-ahead log what LevelDB would pass over: after a fragment that is not what was written LevelDB goes on with the next
// 32 KB block, and of a record with such a fragment it takes nothing. Here the next fragment is looked for, and of a damaged record each
// operation is offered whose value proves itself, by a check of its own.

import { readFile } from 'node:fs/promises'
import {
  BLOCK_BYTES,
  FIRST,
  FRAGMENT_HEADER_BYTES,
  fragmentEnd,
  isSoundFragment,
  LAST,
  operationAt,
  operationsOf,
  sequenceOf,
  type WalOperation,
  WHOLE,
} from './wal-format.js'

export interface SalvagedOperation extends WalOperation {
  /** LevelDB's; of an operation in a damaged record, that of the record before: it is later than that. */
  readonly sequence: number
}

/**
 * What a log holds, in order.
 * @param proves Whether a value is what was stored under its key, as far as they tell themselves. Asked of what lies in damaged records.
 */
export async function* salvageWal(
  path: string,
  proves: (key: Buffer, value: Buffer) => boolean,
): AsyncGenerator<SalvagedOperation> {
  let sequence = 0
  for (const { bytes, isSound } of recordsOf(await readFile(path))) {
    if (!isSound) {
      for (const operation of provenIn(bytes, proves)) yield { ...operation, sequence }
      continue
    }
    sequence = sequenceOf(bytes)
    for (const operation of operationsOf(bytes)) yield { ...operation, sequence: sequence++ }
    sequence -= 1
  }
}

interface SalvagedRecord {
  readonly bytes: Buffer
  /** All its fragments are what was written. */
  readonly isSound: boolean
}

/** Puts records together from their fragments. One with a damaged fragment ends where the next one surely begins. */
function* recordsOf(log: Buffer): Iterable<SalvagedRecord> {
  let parts: Buffer[] = []
  let isSound = true
  const taken = (): SalvagedRecord => {
    const record = { bytes: Buffer.concat(parts), isSound: isSound && parts.length > 0 }
    parts = []
    isSound = true
    return record
  }
  for (const { type, payload } of fragmentsOf(log)) {
    const begins = type === WHOLE || type === FIRST
    if (begins && parts.length > 0) {
      // The one before has no end.
      isSound = false
      yield taken()
    }
    if (type === null || (!begins && parts.length === 0)) isSound = false
    parts.push(payload)
    if (type === WHOLE || type === LAST) yield taken()
  }
  if (parts.length === 0) return
  isSound = false
  yield taken()
}

/** @returns fragments in order; `type` is null where one is damaged: what it was cannot be told. */
function* fragmentsOf(log: Buffer): Iterable<{ readonly type: number | null; readonly payload: Buffer }> {
  for (let start = 0; start < log.length; start += BLOCK_BYTES) {
    const block = log.subarray(start, start + BLOCK_BYTES)
    for (let at = 0; block.length - at >= FRAGMENT_HEADER_BYTES; ) {
      const isSound = isSoundFragment(block, at)
      if (!isSound && isBlank(block, at)) break
      const end = isSound ? fragmentEnd(block, at) : endOfDamaged(block, at)
      yield { type: isSound ? block[at + 6] : null, payload: block.subarray(at + FRAGMENT_HEADER_BYTES, end) }
      at = end
    }
  }
}

/** Laid out in advance and never written, or the rest of a block. */
function isBlank(block: Buffer, at: number): boolean {
  for (let i = at; i < block.length; i++) if (block[i] !== 0) return false
  return true
}

/** Where what follows a damaged fragment begins: where its header says, if that is so, or where a sound one does. */
function endOfDamaged(block: Buffer, at: number): number {
  const told = fragmentEnd(block, at)
  const isLast = told <= block.length && isBlank(block, told)
  if (isLast || isSoundFragment(block, told)) return told
  for (let next = at + FRAGMENT_HEADER_BYTES; next < block.length; next++) if (isSoundFragment(block, next)) return next
  return block.length
}

/** What proves itself in bytes of which nothing else is known. */
function* provenIn(bytes: Buffer, proves: (key: Buffer, value: Buffer) => boolean): Iterable<WalOperation> {
  for (let at = 0; at < bytes.length; ) {
    const operation = operationAt(bytes, at)
    if (operation?.value && proves(operation.key, operation.value)) {
      yield operation
      at = operation.end
    } else at += 1
  }
}
