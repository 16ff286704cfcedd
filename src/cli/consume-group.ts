// Reading as a member of a consumer group: the group's place is kept by the node, and moves only once stdout has taken a record. So a
// record can be printed twice (a kill between printing and committing), never not at all.

import { Backoff } from '../base/backoff.js'
import { SluiceError } from '../base/errors.js'
import { sleep } from '../base/sleep.js'
import type { ApiClient } from './api-client.js'
import type { Output } from './output.js'
import type { ApiRecord } from './record-format.js'
import type { RecordPrinter } from './record-printer.js'

const MAX_RECORDS_PER_REQUEST = 500
const WAIT_MS = 30_000
/** How long the group waits for a member that was killed before it gives its partitions to others. */
const SESSION_TIMEOUT_MS = 10_000
const HEARTBEAT_MS = 3_000

export interface GroupReading {
  readonly api: ApiClient
  readonly stream: string
  readonly group: string
  /** Where a group without offsets starts. */
  readonly from: string
  readonly printer: RecordPrinter
  readonly stderr: Output
  readonly signal: AbortSignal
}

interface Membership {
  readonly member_id: string
  readonly generation: number
}

interface GroupPage {
  readonly records: readonly ApiRecord[]
  readonly fetch_id: number
}

/** Prints until enough is printed. @throws SluiceError, AbortError once `signal` is aborted; the group has been left then. */
export async function consumeGroup(reading: GroupReading): Promise<void> {
  const member = new Member(reading)
  const heartbeat = setInterval(() => void member.heartbeat(), HEARTBEAT_MS)
  const backoff = new Backoff({ baseMs: 250, maxMs: 5_000 })
  let lost = false
  try {
    await member.join()
    while (!reading.printer.isDone) {
      try {
        await member.readOn()
        if (lost) await reading.stderr.line('The node is back.')
        lost = false
        backoff.reset()
      } catch (error) {
        if (!(error instanceof SluiceError)) throw error
        if (await member.recover(error)) continue
        if (!error.retriable) throw error
        if (!lost) await reading.stderr.line(`${error.message}; trying again`)
        lost = true
        await sleep(Math.max(50, backoff.nextMs()), reading.signal)
        reading.signal.throwIfAborted()
      }
    }
  } finally {
    clearInterval(heartbeat)
    await member.leave()
  }
}

class Member {
  private current: Membership | null = null
  /** Whether the membership has to be renewed before the next fetch. */
  private mustJoin = true
  private fetchId = 0

  constructor(private readonly reading: GroupReading) {}

  async join(): Promise<void> {
    const { api, stream, from, signal } = this.reading
    this.current = await api.post<Membership>(
      this.path('members'),
      {
        streams: [stream],
        member_id: this.current?.member_id,
        member_name: 'cli',
        session_timeout_ms: SESSION_TIMEOUT_MS,
        offset_reset: from,
      },
      { signal },
    )
    this.fetchId = 0
    this.mustJoin = false
  }

  /** Fetches, prints, commits what was printed. */
  async readOn(): Promise<void> {
    if (this.mustJoin) await this.join()
    const { api, printer, signal } = this.reading
    const page = await api.get<GroupPage>(this.path(`members/${this.current?.member_id}/records`), {
      query: {
        max_records: Math.min(MAX_RECORDS_PER_REQUEST, printer.missing),
        wait_ms: WAIT_MS,
        after: this.fetchId,
      },
      waitMs: WAIT_MS,
      signal,
    })
    this.fetchId = page.fetch_id
    if (page.records.length === 0) return
    const printed = await printer.print(page.records)
    await this.commit(printed)
    // Nobody reads stdout any more: what was not printed stays for the next member.
    if (printed.length < page.records.length) signal.throwIfAborted()
  }

  /** @returns true if the group said so and the loop can just go on. */
  async recover({ code, message }: SluiceError): Promise<boolean> {
    if (code === 'OFFSET_OUT_OF_RANGE') {
      // The node has moved this member on, and says so once.
      await this.reading.stderr.line(`sluice consume: ${message}`)
      return !this.mustJoin
    }
    if (code === 'REBALANCE_IN_PROGRESS') {
      this.mustJoin = true
      return true
    }
    if (code !== 'UNKNOWN_MEMBER_ID' && code !== 'ILLEGAL_GENERATION') return false
    if (code === 'UNKNOWN_MEMBER_ID') this.current = null
    this.mustJoin = true
    return true
  }

  /** While stdout is slow or a fetch waits; what it answers the next fetch hears too. */
  async heartbeat(): Promise<void> {
    if (this.current === null || this.mustJoin) return
    await this.reading.api.post(this.path(`members/${this.current.member_id}/heartbeat`), {}).catch(() => {})
  }

  /** So that the others need not wait for the session to end; if it cannot be said, it ends by itself. */
  async leave(): Promise<void> {
    if (this.current === null) return
    await this.reading.api.delete(this.path(`members/${this.current.member_id}`)).catch(() => {})
  }

  private async commit(printed: readonly ApiRecord[]): Promise<void> {
    const ends = new Map<string, { stream: string; partition: number; offset: number }>()
    for (const { stream, partition, offset } of printed)
      ends.set(`${stream}/${partition}`, { stream, partition, offset: offset + 1 })
    if (ends.size === 0) return
    await this.reading.api.post(this.path('offsets'), {
      offsets: [...ends.values()],
      member_id: this.current?.member_id,
      generation: this.current?.generation,
    })
  }

  private path(rest: string): string {
    return `/v1/groups/${this.reading.group}/${rest}`
  }
}
