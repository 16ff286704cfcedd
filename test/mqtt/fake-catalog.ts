// Streams in memory whose commits settle when a test says so.

import { SluiceError } from '../../src/base/errors.js'
import type { Commit, Stream, StreamCatalog } from '../../src/log/types.js'
import { SettableCommit } from '../../src/mqtt/settable-commit.js'
import type { RecordInput } from '../../src/record/record.js'

export interface FakeStream extends Stream {
  /** Key and value of everything appended. */
  readonly appended: { partition: number; key: string; value: string }[]
  room: boolean
  /** Makes room and tells who waits. */
  makeRoom(): void
  /** Settles the commit being gathered; the next append begins another. */
  settle(error?: SluiceError): void
}

export function fakeStream(name: string, topics: readonly string[], partitions = 1): FakeStream {
  let commit = new SettableCommit()
  let waiters: (() => void)[] = []
  const next = new Array<number>(partitions).fill(0)
  const fake = {
    name,
    topics,
    partitions,
    appended: [] as { partition: number; key: string; value: string }[],
    room: true,
    append(partition: number, record: RecordInput): Commit {
      fake.appended.push({
        partition,
        key: String(Buffer.from(record.key!)),
        value: String(Buffer.from(record.value!.subarray(record.valueStart, record.valueEnd))),
      })
      next[partition] += 1
      return commit
    },
    setFact: () => commit,
    facts: () => new Map(),
    get hasRoom() {
      return fake.room
    },
    whenRoom: () => new Promise<void>((resolve) => waiters.push(resolve)),
    makeRoom() {
      fake.room = true
      for (const wake of waiters) wake()
      waiters = []
    },
    settle(error?: SluiceError) {
      const settled = commit
      commit = new SettableCommit()
      settled.settle(error ?? null)
    },
    nextOffset: (partition: number) => next[partition],
    highWatermark: () => 0,
    logStartOffset: () => 0,
    onChange: () => () => {},
  }
  return fake as unknown as FakeStream
}

export function fakeCatalog(...streams: Stream[]): StreamCatalog {
  const byName = new Map(streams.map((stream) => [stream.name, stream]))
  return {
    streams: byName,
    stream(name) {
      const stream = byName.get(name)
      if (stream === undefined) throw new SluiceError('UNKNOWN_STREAM_OR_PARTITION', `no stream ${name}`)
      return stream
    },
  }
}
