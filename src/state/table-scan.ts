// Finds the blocks of a LevelDB table (table-format.ts has the grammar) whose index or whose end is damaged, one after the other from its
// beginning: each ends where the checksum behind it is right.

import { crc32c } from '../base/crc32c.js'
import { FOOTER_BYTES, type Handle, TRAILER_BYTES, Varints } from './table-format.js'
import { unmaskedCrc } from './wal-format.js'

/** What the key of the only entry of the block in front of the index begins with; its value says where the blocks with data end. */
const FILTER_NAME = 'filter.'

export interface TableScan {
  /** Those with data, in order. */
  readonly blocks: readonly Handle[]
  /** Nothing is missing behind them. */
  readonly isComplete: boolean
}

export function scanTable(table: Buffer): TableScan {
  const blocks: Handle[] = []
  for (let at = 0; at < table.length - FOOTER_BYTES; ) {
    const size = blockSizeAt(table, at)
    if (size === null) break
    const end = endOfData(table.subarray(at, at + size))
    if (end !== null) {
      const data = blocks.filter(({ offset }) => offset < end)
      const last = data.at(-1)
      return { blocks: data, isComplete: end === (last ? last.offset + last.size + TRAILER_BYTES : 0) }
    }
    blocks.push({ offset: at, size })
    at += size + TRAILER_BYTES
  }
  return { blocks, isComplete: false }
}

/** How long the block is that begins there; null if it is damaged. */
function blockSizeAt(table: Buffer, at: number): number | null {
  let running = 0
  let checked = at
  for (let end = at; end + TRAILER_BYTES <= table.length; end++) {
    // Not compressed.
    if (table[end] !== 0) continue
    running = crc32c(table, checked, end + 1, running)
    checked = end + 1
    if (running === unmaskedCrc(table.readUInt32LE(end + 1))) return end - at
  }
  return null
}

/** @returns what the block says of where the data ends; null if it is another block. */
function endOfData(block: Buffer): number | null {
  const entry = new Varints(block, 0)
  const [shared, keyBytes] = [entry.next(), entry.next()]
  entry.next()
  const keyAt = entry.at
  if (
    shared !== 0 ||
    !block
      .subarray(keyAt, keyAt + keyBytes)
      .toString('latin1')
      .startsWith(FILTER_NAME)
  )
    return null
  return new Varints(block, keyAt + keyBytes).handle().offset
}
