// What the writer of the fault tests stores and says, and whether a data directory holds it.

import * as assert from 'uvu/assert'
import type { LedgerRow } from '../../../src/state/ledger.js'
import { openLog, readAll, type TestLog } from '../../helpers/open-log.js'

export const FAULT_DESTINATION = 'cloud'
export const FAULT_STREAM = {
  name: 'faulty',
  partitions: 3,
  retention: { maxBytes: 2 * 1024 * 1024, maxAgeMs: null, onFull: 'drop_oldest' as const },
}
export const FAULT_OPTIONS = { segmentBytes: 256 * 1024, maxBatchBytes: 16 * 1024, destinations: [FAULT_DESTINATION] }

/** Tells where it belongs; its length follows from that too. */
export function faultPayload(partition: number, offset: number): string {
  return `${partition}:${offset}:${'x'.repeat((offset * 7919) % 1500)}`
}

/** Promises made so far, per partition, over all lives of a writer. */
export class Promised {
  /** One past the last acknowledged offset. */
  readonly ends = Array.from({ length: FAULT_STREAM.partitions }, () => 0)
  readonly cursors = Array.from({ length: FAULT_STREAM.partitions }, () => 0)
  lines = 0

  /** Takes in what a writer has said. Its last line may be cut. */
  hear(output: string): void {
    for (const [, word, first, second] of output.matchAll(/^(open|acked|cursor|dropped) (\d+) (\d+)(?: \d+)?\n/gm)) {
      const [partition, offset] = [Number(first), Number(second)]
      if (word === 'acked') this.ends[partition] = Math.max(this.ends[partition], offset + 1)
      if (word === 'cursor') this.cursors[partition] = Math.max(this.cursors[partition], offset)
      this.lines += 1
    }
  }
}

/**
 * Opens the directory and asserts that everything promised is there: readable, delivered or in the ledger; each record the one that was
 * written; cursors where they were said to be.
 * @returns what there is, for further assertions; the log is closed again.
 */
export async function assertKept(
  directory: string,
  promised: Promised,
): Promise<{ records: number; ledger: readonly LedgerRow[] }> {
  const node = await openLog(directory, [FAULT_STREAM], FAULT_OPTIONS)
  try {
    let count = 0
    for (let partition = 0; partition < FAULT_STREAM.partitions; partition++) {
      count += await assertPartitionKept(node, partition, promised)
    }
    assert.equal(node.fatal, [])
    return { records: count, ledger: node.ledger.list() }
  } finally {
    await node.close()
  }
}

async function assertPartitionKept(node: TestLog, partition: number, promised: Promised): Promise<number> {
  const found = await readAll(node.log, FAULT_STREAM.name, partition)
  const where = `partition ${partition}`
  const cursor = node.cursors.get(FAULT_DESTINATION, FAULT_STREAM.name, partition) ?? 0
  assert.ok(cursor >= promised.cursors[partition], `${where}: cursor ${cursor}, said ${promised.cursors[partition]}`)
  const rows = node.ledger.list().filter((row) => row.partition === partition)
  const named = (offset: number, destination: string): boolean =>
    rows.some((row) => row.destination === destination && row.firstOffset <= offset && offset <= row.lastOffset)
  const start = node.log.stream(FAULT_STREAM.name).logStartOffset(partition as never)
  for (let offset = cursor; offset < start; offset++) {
    assert.ok(named(offset, FAULT_DESTINATION) || named(offset, '*'), `${where}: ${offset} was dropped in silence`)
  }
  // Retention may have gone on since they were read.
  const records = found.filter(({ offset }) => offset >= start)
  let next: number = start
  for (const { offset, value } of records) {
    for (; next < offset; next++) assert.ok(named(next, '*'), `${where}: ${next} is missing`)
    assert.is(offset, next, `${where}: in order, each once`)
    assert.is(value?.toString(), faultPayload(partition, offset), `${where}: record ${offset}`)
    next += 1
  }
  for (; next < promised.ends[partition]; next++)
    assert.ok(named(next, '*'), `${where}: ${next} was acked and is missing`)
  return records.length
}
