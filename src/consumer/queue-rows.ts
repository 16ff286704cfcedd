// The rows of all work queues of a node in state/, each under the lasting name of its stream (stream-identity.ts): a row never has to move when a
// mirror's name goes to another incarnation, so no crash can leave it with the wrong one.
//
//   QUEUE/PARTITION       where the queue is; QUEUE = STREAM/GROUP
//   QUEUE/dead/PARTITION  how far its dead letters have been redriven
//   QUEUE/removed         it was removed: it does not come back as the successor of one that read a former incarnation

import type { StreamReader } from '../log/types.js'
import { toPartitionId } from '../record/record.js'
import type { StateOperation, StateTable } from '../state/types.js'
import { QueuePartition, type QueueRow } from './queue-partition.js'
import { QueueSaver } from './queue-saver.js'

const REMOVED: QueueRow = { next: 0, pending: [] }

export class QueueRows {
  /** Of queues that were not used since the start, and what is not of a partition. */
  private readonly rows = new Map<string, QueueRow>()

  private constructor(private readonly table: StateTable<QueueRow>) {}

  static async open(table: StateTable<QueueRow>): Promise<QueueRows> {
    const opened = new QueueRows(table)
    for await (const [key, row] of table.entries()) opened.rows.set(key, row)
    return opened
  }

  /** Queues that can be restored, as [lasting name of the stream, group]. */
  queues(): (readonly [stream: string, group: string])[] {
    const firsts = [...this.rows.keys()].filter((key) => key.endsWith('/0') && !key.endsWith('/dead/0'))
    return firsts.map((key) => key.split('/') as unknown as readonly [string, string])
  }

  has(queue: string): boolean {
    return this.rows.has(`${queue}/0`)
  }

  isRemoved(queue: string): boolean {
    return this.rows.has(`${queue}/removed`)
  }

  /** The partitions as they are stored; from now on they are the queue's. */
  take(queue: string, stream: StreamReader, maxPending: number): QueuePartition[] {
    return Array.from({ length: stream.partitions }, (_, p) => {
      // Partitions that came after the queue are read from their beginning.
      const row = this.rows.get(`${queue}/${p}`) ?? { next: stream.logStartOffset(toPartitionId(p)), pending: [] }
      this.rows.delete(`${queue}/${p}`)
      return QueuePartition.restore(row, maxPending)
    })
  }

  saverOf(queue: string, partitions: readonly QueuePartition[]): QueueSaver {
    return new QueueSaver(this.table, queue, partitions)
  }

  /** Durable, with what `saver` has, when it resolves. */
  async begin(queue: string, saver: QueueSaver): Promise<void> {
    await saver.saveWith(this.isRemoved(queue) ? [{ delete: `${queue}/removed` }] : [])
    this.rows.delete(`${queue}/removed`)
  }

  /** Where to go on in each partition of the dead letter stream. */
  redrivenTo(queue: string, partitions: number): number[] {
    return Array.from({ length: partitions }, (_, p) => this.rows.get(`${queue}/dead/${p}`)?.next ?? 0)
  }

  async saveRedriven(queue: string, saver: QueueSaver, redriven: readonly number[]): Promise<void> {
    const rows = redriven.map((next, p) => ({ put: `${queue}/dead/${p}`, value: { next, pending: [] } }))
    await saver.saveWith(rows)
    for (const { put, value } of rows) this.rows.set(put, value)
  }

  /** @param hasFormer There may be one of a former incarnation of its stream. */
  async remove(queue: string, partitions: number, hasFormer: boolean): Promise<void> {
    const keys = Array.from({ length: partitions }, (_, p) => `${queue}/${p}`)
    keys.push(...[...this.rows.keys()].filter((key) => key.startsWith(`${queue}/`)))
    const operations: StateOperation<QueueRow>[] = keys.map((key) => ({ delete: key }))
    if (hasFormer) operations.push({ put: `${queue}/removed`, value: REMOVED })
    await this.table.write(operations)
    for (const key of keys) this.rows.delete(key)
    if (hasFormer) this.rows.set(`${queue}/removed`, REMOVED)
  }
}
