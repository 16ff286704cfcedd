// One membership in a consumer group, as requests: join, fetch, commit, heartbeat, leave. Knows nothing of loops or retries: that is Consumer's.

import { SluiceError } from '../base/errors.js'
import { hasZstd } from '../record/compression.js'
import { type ConsumerRecord, type JsonRecord, recordOfJson, recordsOfBatches } from './consumer-record.js'
import type { HttpTransport } from './http-transport.js'

export interface AssignedPartition {
  readonly stream: string
  readonly partition: number
  /** The next offset that will be read. */
  readonly position: number
}

export interface OffsetToCommit {
  readonly stream: string
  readonly partition: number
  /** The next offset to read. */
  readonly offset: number
  readonly metadata?: string
}

export interface SessionOptions {
  readonly group: string
  readonly streams: readonly string[]
  readonly memberName: string
  readonly instanceId?: string
  readonly sessionTimeoutMs: number
  readonly rebalanceTimeoutMs: number
  readonly assignment?: string | readonly string[]
  readonly offsetReset: string
  readonly maxRecords: number
  readonly maxBytes: number
}

const STORED_BATCHES = 'application/vnd.sluice.batches'

interface StoredPart {
  readonly stream: string
  readonly partition: number
  readonly position: number
  readonly bytes: number
}

export class GroupSession {
  private memberId: string | undefined
  private generation = 0
  private fetchId = 0
  private isStored = true

  constructor(
    private readonly transport: HttpTransport,
    private readonly options: SessionOptions,
    private readonly signal: AbortSignal,
  ) {}

  get isMember(): boolean {
    return this.memberId !== undefined
  }

  /**
   * Resolves once the group has shared out its partitions. Where the group does not know this member any more, as a new one.
   * @throws SluiceError FENCED_INSTANCE_ID when another process has the place of this static member: only its former id tells them apart.
   */
  async join(): Promise<readonly AssignedPartition[]> {
    if (this.memberId === undefined) return this.joinAs(undefined)
    try {
      return await this.joinAs(this.memberId)
    } catch (error) {
      if (!(error instanceof SluiceError) || error.code !== 'UNKNOWN_MEMBER_ID') throw error
      this.memberId = undefined
      return this.joinAs(undefined)
    }
  }

  private async joinAs(memberId: string | undefined): Promise<readonly AssignedPartition[]> {
    const { streams, memberName, instanceId, sessionTimeoutMs, rebalanceTimeoutMs, assignment, offsetReset } =
      this.options
    const joined = await this.transport.json<{
      member_id: string
      generation: number
      assignments: readonly AssignedPartition[]
    }>(this.path('members'), {
      method: 'POST',
      body: {
        streams,
        member_id: memberId,
        member_name: memberName,
        instance_id: instanceId,
        session_timeout_ms: sessionTimeoutMs,
        rebalance_timeout_ms: rebalanceTimeoutMs,
        assignment,
        offset_reset: offsetReset,
      },
      waitMs: sessionTimeoutMs + rebalanceTimeoutMs,
      signal: this.signal,
    })
    this.memberId = joined.member_id
    this.generation = joined.generation
    this.fetchId = 0
    return joined.assignments
  }

  /** Waits up to `waitMs` where there is nothing; asked again after a failure it answers with the same records. */
  async fetch(waitMs: number): Promise<ConsumerRecord[]> {
    const { maxRecords, maxBytes } = this.options
    const query = { max_records: maxRecords, max_bytes: maxBytes, wait_ms: waitMs, after: this.fetchId }
    const path = this.path(`members/${this.memberId}/records`)
    if (this.isStored) {
      const { headers, body } = await this.transport.send(path, {
        query,
        waitMs,
        accept: STORED_BATCHES,
        signal: this.signal,
      })
      const records = this.decode(headers['x-sluice-partitions'], body)
      if (records !== null) {
        this.fetchId = Number(headers['x-sluice-fetch-id'])
        return records
      }
      this.isStored = false
    }
    const page = await this.transport.json<{ records: JsonRecord[]; fetch_id: number }>(path, {
      query: { ...query, wait_ms: 0 },
      signal: this.signal,
    })
    this.fetchId = page.fetch_id
    return page.records.map(recordOfJson)
  }

  async commit(offsets: readonly OffsetToCommit[]): Promise<void> {
    await this.transport.json(this.path('offsets'), {
      method: 'POST',
      body: {
        offsets,
        member_id: this.memberId,
        generation: this.generation,
        instance_id: this.options.instanceId,
      },
    })
  }

  async heartbeat(): Promise<void> {
    await this.transport.json(this.path(`members/${this.memberId}/heartbeat`), {
      method: 'POST',
      body: { generation: this.generation, instance_id: this.options.instanceId },
      signal: this.signal,
    })
  }

  async leave(): Promise<void> {
    if (this.memberId === undefined) return
    const path = this.path(`members/${this.memberId}`)
    this.memberId = undefined
    await this.transport.json(path, { method: 'DELETE' })
  }

  /** @returns null for batches compressed in a way this Node.js cannot read: the node has to send JSON. */
  private decode(header: string | string[] | undefined, body: Buffer): ConsumerRecord[] | null {
    const parts = JSON.parse(String(header ?? '[]')) as StoredPart[]
    const records: ConsumerRecord[] = []
    let at = 0
    try {
      for (const { stream, partition, position, bytes } of parts) {
        const part = recordsOfBatches(stream, partition, body.subarray(at, at + bytes), position)
        if (records.length === 0 && parts.length === 1) return part
        for (const record of part) records.push(record)
        at += bytes
      }
      return records
    } catch (error) {
      if (!hasZstd && error instanceof SluiceError && error.code === 'CORRUPT_MESSAGE') return null
      throw error
    }
  }

  private path(rest: string): string {
    return `/v1/groups/${encodeURIComponent(this.options.group)}/${rest}`
  }
}
