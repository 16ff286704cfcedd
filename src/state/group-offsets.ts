// Committed offsets of consumer groups. As in Kafka, a committed offset is the next one to be read.

import type { Offset } from '../record/record.js'
import type { StateOperation, StateStore, StateTable } from './types.js'

/** Longest metadata string a commit may carry, UTF-16 units (Kafka's offset.metadata.max.bytes). */
export const MAX_OFFSET_METADATA_LENGTH = 4096

interface Row {
  readonly offset: number
  readonly metadata: string
  readonly at: number
  /** Absent where the committer did not say. */
  readonly epoch?: number
}

export interface CommittedOffset {
  readonly offset: Offset
  readonly metadata: string
  /** The partition epoch of the last record that was read (KIP-320), as its committer says; null where it did not. */
  readonly leaderEpoch: number | null
  /** Wall-clock, milliseconds since 1970-01-01 UTC. */
  readonly committedAtMs: number
}

export interface OffsetCommit {
  readonly stream: string
  readonly partition: number
  readonly offset: Offset
  readonly metadata?: string
  readonly leaderEpoch?: number
}

export type GroupOffset = { readonly stream: string; readonly partition: number } & CommittedOffset

export class GroupOffsets {
  /** group -> `stream/partition` -> offset. */
  private readonly byGroup = new Map<string, Map<string, GroupOffset>>()

  /** Commits on their way to the disk. */
  private readonly writing = new Set<Promise<void>>()

  private constructor(
    private readonly table: StateTable<Row>,
    private readonly wallMs: () => number,
  ) {}

  static async open(state: StateStore, wallMs: () => number): Promise<GroupOffsets> {
    const offsets = new GroupOffsets(state.table<Row>('group-offsets'), wallMs)
    for await (const [key, { offset, metadata, at, epoch }] of offsets.table.entries()) {
      const [group, stream, partition] = key.split('/')
      offsets.remember(group, {
        stream,
        partition: Number(partition),
        offset: offset as Offset,
        metadata,
        leaderEpoch: epoch ?? null,
        committedAtMs: at,
      })
    }
    return offsets
  }

  get(group: string, stream: string, partition: number): CommittedOffset | undefined {
    return this.byGroup.get(group)?.get(`${stream}/${partition}`)
  }

  /** All or nothing, durable when it resolves. @throws RangeError if a metadata string is too long. */
  async commit(group: string, commits: readonly OffsetCommit[]): Promise<void> {
    const committedAtMs = this.wallMs()
    const rows = commits.map(({ stream, partition, offset, metadata = '', leaderEpoch = null }) => {
      if (metadata.length > MAX_OFFSET_METADATA_LENGTH) throw new RangeError('the metadata of a commit is too long')
      return { stream, partition, offset, metadata, leaderEpoch, committedAtMs }
    })
    const written = this.table
      .write(rows.map((row) => ({ put: `${group}/${row.stream}/${row.partition}`, value: storedRow(row) })))
      .then(() => {
        for (const row of rows) this.remember(group, row)
      })
      .finally(() => this.writing.delete(written))
    this.writing.add(written)
    await written
  }

  ofGroup(group: string): readonly GroupOffset[] {
    return [...(this.byGroup.get(group)?.values() ?? [])]
  }

  groups(): readonly string[] {
    return [...this.byGroup.keys()]
  }

  async remove(group: string): Promise<void> {
    await this.table.write(
      this.ofGroup(group).map(({ stream, partition }) => ({ delete: `${group}/${stream}/${partition}` })),
    )
    this.byGroup.delete(group)
  }

  /** What was committed of one stream is from now on of a stream by another name. Durable when it resolves. */
  async renameStream(stream: string, to: string): Promise<void> {
    // Those taken just before are of the old stream too; nobody may commit under its name any more by now.
    await Promise.allSettled([...this.writing])
    const operations: StateOperation<Row>[] = []
    const moved: [group: string, key: string, row: GroupOffset][] = []
    for (const [group, offsets] of this.byGroup)
      for (const [key, row] of offsets) {
        if (row.stream !== stream) continue
        operations.push({ delete: `${group}/${key}` })
        moved.push([group, key, row])
        if (this.get(group, to, row.partition) === undefined)
          operations.push({ put: `${group}/${to}/${row.partition}`, value: storedRow(row) })
      }
    await this.table.write(operations)
    for (const [group, key, row] of moved) {
      this.byGroup.get(group)?.delete(key)
      // Whoever reads the old stream may have committed under its new name since.
      if (this.get(group, to, row.partition) === undefined) this.remember(group, { ...row, stream: to })
    }
  }

  /** Streams that anything was committed of. */
  streams(): readonly string[] {
    const streams = new Set<string>()
    for (const offsets of this.byGroup.values()) for (const { stream } of offsets.values()) streams.add(stream)
    return [...streams]
  }

  private remember(group: string, row: GroupOffset): void {
    let offsets = this.byGroup.get(group)
    if (!offsets) this.byGroup.set(group, (offsets = new Map()))
    offsets.set(`${row.stream}/${row.partition}`, row)
  }
}

function storedRow({ offset, metadata, leaderEpoch, committedAtMs: at }: CommittedOffset): Row {
  return { offset, metadata, at, ...(leaderEpoch !== null && { epoch: leaderEpoch }) }
}
