// The nodes that forward to this one: which life of each is the right one (origin-epoch.ts), and how they are doing. Receiving side.

import type { Clock } from '../base/clock.js'
import { SluiceError } from '../base/errors.js'
import type { Logger } from '../base/logger.js'
import type { StateStore, StateTable } from '../state/types.js'
import type { Hello } from './node-protocol.js'

/** Node ids remembered, inclusive. */
export const MAX_ORIGINS = 4096

interface Row {
  readonly epoch: Buffer
  readonly atMs: number
}

export interface OriginStatus {
  readonly nodeId: string
  readonly connected: boolean
  /** Wall-clock time of its last accepted hello. */
  readonly lastHelloMs: number | null
  /** What is wrong, for people. */
  readonly alarm: string | null
}

interface Origin {
  epoch: string | null
  lastHelloMs: number | null
  connections: number
  /** On the monotonic clock: when another life of this node was refused, and when that was said. */
  refusedAtMs: number | null
  refusedSaidAtMs: number | null
  /** Why what it forwards has to wait. */
  waits: string | null
  /** What else an operator should look at. */
  noticed: string | null
}

export class Origins {
  private readonly origins = new Map<string, Origin>()

  private constructor(
    private readonly table: StateTable<Row>,
    private readonly clock: Clock,
    private readonly logger: Logger,
  ) {}

  static async open(state: StateStore, clock: Clock, logger: Logger): Promise<Origins> {
    const origins = new Origins(state.table<Row>('origins'), clock, logger)
    for await (const [nodeId, { epoch, atMs }] of origins.table.entries())
      origins.origins.set(nodeId, { ...NEW, epoch: Buffer.from(epoch).toString('hex'), lastHelloMs: atMs })
    return origins
  }

  list(): OriginStatus[] {
    return [...this.origins.keys()].sort().map((nodeId) => this.statusOf(nodeId))
  }

  /** @throws SluiceError NOT_FOUND */
  statusOf(nodeId: string): OriginStatus {
    const origin = this.find(nodeId)
    const { connections, lastHelloMs } = origin
    return { nodeId, connected: connections > 0, lastHelloMs, alarm: this.alarmOf(origin) }
  }

  /** Durable when it resolves. @throws SluiceError FENCED_EPOCH if another life of this node was here; TOO_MANY_REQUESTS. */
  async admit({ nodeId, current, next }: Hello): Promise<void> {
    const origin = this.origins.get(nodeId) ?? { ...NEW }
    if (origin.epoch !== null && origin.epoch !== current.toString('hex') && origin.epoch !== next.toString('hex')) {
      this.refused(nodeId, origin)
      const message = `${nodeId} was here with another data directory: if this one takes its place, accept it at this node: sluice origins ${nodeId} accept`
      throw new SluiceError('FENCED_EPOCH', message, { nodeId })
    }
    if (!this.origins.has(nodeId) && this.origins.size >= MAX_ORIGINS)
      throw new SluiceError('TOO_MANY_REQUESTS', `${MAX_ORIGINS} nodes are known here, the maximum`)
    // Before it is durable: of two that say hello at once only one may pass.
    origin.epoch = next.toString('hex')
    this.origins.set(nodeId, origin)
    const atMs = this.clock.wallMs()
    await this.table.put(nodeId, { epoch: next, atMs })
    origin.lastHelloMs = atMs
  }

  /** Lets the next one with this node id in, whoever it is. Durable when it resolves. @throws SluiceError NOT_FOUND */
  async accept(nodeId: string): Promise<void> {
    const origin = this.find(nodeId)
    await this.table.delete(nodeId)
    Object.assign(origin, { epoch: null, refusedAtMs: null, refusedSaidAtMs: null, waits: null, noticed: null })
    this.logger.warn('the next node with this id is accepted, whoever it is', { origin: nodeId })
  }

  connected(nodeId: string, by: 1 | -1): void {
    const origin = this.origins.get(nodeId)
    if (origin !== undefined) origin.connections += by
  }

  /** Something an operator should look at. */
  alarm(nodeId: string, what: string): void {
    this.logger.error(`origin: ${what}`, { origin: nodeId })
    const origin = this.origins.get(nodeId)
    if (origin !== undefined) origin.noticed = what
  }

  /**
   * What it forwards cannot be stored here now, so that it will come again and again.
   * @returns false if that was known: an outage is one line in the log, not one per attempt.
   */
  cannotTake(nodeId: string, reason: string): boolean {
    const origin = this.origins.get(nodeId)
    if (origin === undefined || origin.waits === reason) return origin === undefined
    origin.waits = reason
    return true
  }

  /** What it forwards can be stored. */
  canTake(nodeId: string): void {
    const origin = this.origins.get(nodeId)
    if (origin === undefined || origin.waits === null) return
    origin.waits = null
    this.logger.info('what a node forwards can be stored again', { origin: nodeId })
  }

  /** It comes again and again: the log says so now and then. */
  private refused(nodeId: string, origin: Origin): void {
    const nowMs = this.clock.monotonicMs()
    origin.refusedAtMs = nowMs
    const isNews = origin.refusedSaidAtMs === null || nowMs - origin.refusedSaidAtMs >= REFUSED_SHOWN_MS
    if (isNews) origin.refusedSaidAtMs = nowMs
    this.logger[isNews ? 'error' : 'debug'](`origin: ${REFUSED}`, { origin: nodeId })
  }

  /** That another one was refused stays to be seen while it may come again: it comes for a moment only. */
  private alarmOf({ refusedAtMs, waits, noticed }: Origin): string | null {
    const isRefused = refusedAtMs !== null && this.clock.monotonicMs() - refusedAtMs < REFUSED_SHOWN_MS
    const alarms = [isRefused ? REFUSED : null, waits && `it has to wait: ${waits}`, noticed]
    return alarms.filter((alarm) => alarm !== null).join('; ') || null
  }

  private find(nodeId: string): Origin {
    const origin = this.origins.get(nodeId)
    if (origin !== undefined) return origin
    throw new SluiceError('NOT_FOUND', `no node ${JSON.stringify(nodeId)} has forwarded to this one`)
  }
}

const NEW: Origin = {
  ...{ epoch: null, lastHelloMs: null, connections: 0 },
  ...{ refusedAtMs: null, refusedSaidAtMs: null, waits: null, noticed: null },
}
/** Longer than the pauses between attempts that anybody configures. */
const REFUSED_SHOWN_MS = 15 * 60 * 1000
const REFUSED = 'refused: a node with this id came with another data directory'
