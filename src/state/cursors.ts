// How far each destination has come: the next offset it has not acknowledged, per partition. Kept in memory as it is on disk; retention
// asks it what was not delivered, replication resumes from it.

import type { Offset } from '../record/record.js'
import type { StateStore, StateTable } from './types.js'

interface Row {
  readonly next: number
}

export interface Cursor {
  readonly destination: string
  readonly partition: number
  readonly next: Offset
}

export class Cursors {
  /** stream -> `destination/partition` -> cursor. */
  private readonly byStream = new Map<string, Map<string, Cursor>>()

  private constructor(private readonly table: StateTable<Row>) {}

  static async open(state: StateStore): Promise<Cursors> {
    const cursors = new Cursors(state.table<Row>('cursors'))
    for await (const [key, { next }] of cursors.table.entries()) {
      const [destination, stream, partition] = key.split('/')
      cursors.remember(destination, stream, Number(partition), next as Offset)
    }
    return cursors
  }

  get(destination: string, stream: string, partition: number): Offset | undefined {
    return this.byStream.get(stream)?.get(`${destination}/${partition}`)?.next
  }

  /** Durable when it resolves; grouped with other writes. `get` shows it from then on. */
  async set(destination: string, stream: string, partition: number, next: Offset): Promise<void> {
    await this.table.put(`${destination}/${stream}/${partition}`, { next })
    this.remember(destination, stream, partition, next)
  }

  /** `get` shows it at once, the disk when `set` says so: for a destination that knows it durably itself. */
  note(destination: string, stream: string, partition: number, next: Offset): void {
    this.remember(destination, stream, partition, next)
  }

  /** All cursors of one stream: what retention asks before it drops a segment. */
  ofStream(stream: string): readonly Cursor[] {
    return [...(this.byStream.get(stream)?.values() ?? [])]
  }

  /** Forgets a destination that left the configuration. */
  remove(destination: string): Promise<void> {
    return this.forget((cursor) => cursor.destination === destination)
  }

  /** Forgets how far anybody has come with a stream: what has its name now is another. Durable when it resolves. */
  removeStream(name: string): Promise<void> {
    return this.forget((_cursor, stream) => stream === name)
  }

  private async forget(which: (cursor: Cursor, stream: string) => boolean): Promise<void> {
    const operations: { delete: string }[] = []
    for (const [stream, cursors] of this.byStream) {
      for (const [key, cursor] of cursors) {
        if (!which(cursor, stream)) continue
        operations.push({ delete: `${cursor.destination}/${stream}/${cursor.partition}` })
        cursors.delete(key)
      }
    }
    await this.table.write(operations)
  }

  private remember(destination: string, stream: string, partition: number, next: Offset): void {
    let cursors = this.byStream.get(stream)
    if (!cursors) this.byStream.set(stream, (cursors = new Map()))
    cursors.set(`${destination}/${partition}`, { destination, partition, next })
  }
}
