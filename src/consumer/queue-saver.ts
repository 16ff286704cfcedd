// Makes the rows of one work queue durable. While a write runs, changes collect and go with the next: one row, one write in flight. A row that
// could not be written stays dirty, so that nothing is answered later on the strength of memory alone.

import type { StateOperation, StateTable } from '../state/types.js'
import type { QueuePartition, QueueRow } from './queue-partition.js'

export class QueueSaver {
  private writing: Promise<void> | null = null
  private following: Promise<void> | null = null

  constructor(
    private readonly table: StateTable<QueueRow>,
    /** Key of the queue: `STREAM/GROUP`. */
    private readonly key: string,
    private readonly partitions: readonly QueuePartition[],
  ) {}

  /** Resolves once everything that was changed before this call is durable. @throws SluiceError as StateTable.write. */
  save(): Promise<void> {
    if (this.writing === null) return this.write([])
    this.following ??= this.writing
      .catch(() => {})
      .then(() => {
        this.following = null
        return this.write([])
      })
    return this.following
  }

  /** The same, all or nothing together with `others`. */
  async saveWith(others: readonly StateOperation<QueueRow>[]): Promise<void> {
    while (this.writing !== null) await this.writing.catch(() => {})
    return this.write(others)
  }

  private write(others: readonly StateOperation<QueueRow>[]): Promise<void> {
    const operations = [...others]
    const dirty = this.partitions.filter(({ isDirty }) => isDirty)
    this.partitions.forEach((partition, index) => {
      if (partition.isDirty) operations.push({ put: `${this.key}/${index}`, value: partition.row() })
    })
    if (operations.length === 0) return Promise.resolve()
    for (const partition of dirty) partition.isDirty = false
    this.writing = this.table
      .write(operations)
      .catch((error) => {
        for (const partition of dirty) partition.isDirty = true
        throw error
      })
      .finally(() => {
        this.writing = null
      })
    return this.writing
  }
}
