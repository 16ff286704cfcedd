// Messages on their way to a node elsewhere: many in a request, one request at a time, sent again until the node has answered. A message that is sent
// again is stored once, since each carries a number: its device's, or for those without one the bridge's. Bounded in bytes: past it messages are
// refused, and their devices try again.
//
// A producer's messages go in their order. When one is refused, those behind it are too: stored, they would make it look like a resend.

import { randomInt } from 'node:crypto'
import type { NodeMessage } from '../../src/index.js'
import { SluiceError } from '../../src/index.js'
import type { BridgePublish } from '../devices/bridge-node.js'
import { errorCalled, type NodeApi } from './node-api.js'
import { pause } from './pause.js'

const MAX_WAITING_BYTES = 4 * 1024 * 1024
const MAX_BATCH_BYTES = 128 * 1024
const MAX_BATCH_MESSAGES = 500
/** Of a message besides topic and payload, about. */
const OVERHEAD_BYTES = 200
const MIN_PAUSE_MS = 100
const MAX_PAUSE_MS = 5000

type Outcome = { duplicate: boolean } | { error: string; message: string } | { skipped: true }

class Waiting implements BridgePublish {
  duplicate = false
  readonly durable: Promise<void>
  resolve: () => void = () => {}
  reject: (error: SluiceError) => void = () => {}

  constructor(
    readonly wire: { readonly topic: string; readonly [field: string]: unknown },
    readonly bytes: number,
    /** Null for QoS 0: it is not sent again. */
    readonly number: { readonly by: string; readonly epoch: number; readonly sequence: number } | null,
    /** The number is the bridge's own: nothing depends on what comes before. */
    readonly isOurs: boolean,
  ) {
    this.durable = new Promise((resolve, reject) => {
      this.resolve = resolve
      this.reject = reject
    })
    this.durable.catch(() => {})
  }
}

export class PublishQueue {
  private queue: Waiting[] = []
  private readonly byNumber = new Map<string, Waiting>()
  private waitingBytes = 0
  private sending: Promise<void> | null = null
  private readonly stopped = new AbortController()
  private maxBatchMessages = MAX_BATCH_MESSAGES
  private readonly epoch = randomInt(2 ** 32)
  private sequence = 0
  private requestNumber = 0

  /** @param name Of the bridge: who numbers what has no number. */
  constructor(
    private readonly api: Pick<NodeApi, 'call'>,
    private readonly name: string,
    private readonly maxWaitingBytes = MAX_WAITING_BYTES,
  ) {}

  /** @throws SluiceError TOO_MANY_REQUESTS when too much waits, SHUTTING_DOWN. */
  publish(message: NodeMessage): BridgePublish {
    const { mqttTopic, payload, qos = 1, retain = false, clientId, numberedBy } = message
    if (this.stopped.signal.aborted) throw new SluiceError('SHUTTING_DOWN', 'the bridge is stopping')
    const known = numberedBy && this.byNumber.get(nameOf(numberedBy.id, numberedBy.epoch, numberedBy.sequence))
    if (known !== undefined) return { durable: known.durable, duplicate: true }
    const bytes = mqttTopic.length + payload.length + OVERHEAD_BYTES
    if (this.waitingBytes + bytes > this.maxWaitingBytes)
      throw new SluiceError('TOO_MANY_REQUESTS', 'the node does not take messages: try again in a moment')
    const number = numberedBy
      ? { by: numberedBy.id, epoch: numberedBy.epoch, sequence: numberedBy.sequence }
      : qos > 0
        ? { by: `bridge/${this.name}`, epoch: this.epoch, sequence: this.sequence++ }
        : null
    const wire = {
      topic: mqttTopic,
      value_base64: Buffer.from(payload.buffer, payload.byteOffset, payload.length).toString('base64'),
      ...{ qos, retain },
      ...(clientId !== undefined && { client: clientId }),
      ...(number !== null && { numbered: number }),
    }
    const waiting = new Waiting(wire, bytes, number, numberedBy === undefined)
    if (number !== null) this.byNumber.set(nameOf(number.by, number.epoch, number.sequence), waiting)
    this.waitingBytes += bytes
    this.queue.push(waiting)
    // Gathers what comes in this turn.
    this.sending ??= new Promise<void>((resolve) => setImmediate(resolve)).then(() => this.send())
    return waiting
  }

  /** What is on its way is waited for, but not sent again: its devices know that it is not acknowledged. */
  async stop(): Promise<void> {
    this.stopped.abort()
    await this.sending
    for (const waiting of this.queue) this.settle(waiting, new SluiceError('SHUTTING_DOWN', 'the bridge is stopping'))
    this.queue = []
  }

  private async send(): Promise<void> {
    while (this.queue.length > 0 && !this.stopped.signal.aborted) {
      const batch = this.nextBatch()
      const outcomes = await this.deliver(batch)
      if (outcomes === null) this.queue.unshift(...batch)
      else this.settleAll(batch, outcomes)
    }
    this.sending = null
  }

  /** Takes out of the queue what goes in one request: of each producer one epoch, since only the last epoch of each is remembered. */
  private nextBatch(): Waiting[] {
    const batch: Waiting[] = []
    const rest: Waiting[] = []
    const epochs = new Map<string, number>()
    const held = new Set<string>()
    let bytes = 0
    for (const waiting of this.queue) {
      const { number } = waiting
      const isFull = batch.length >= this.maxBatchMessages || (bytes > 0 && bytes + waiting.bytes > MAX_BATCH_BYTES)
      const epoch = number === null ? undefined : epochs.get(number.by)
      const waits = number !== null && (held.has(number.by) || (epoch !== undefined && epoch !== number.epoch))
      if (isFull || waits) {
        rest.push(waiting)
        if (number !== null) held.add(number.by)
        continue
      }
      if (number !== null) epochs.set(number.by, number.epoch)
      bytes += waiting.bytes
      batch.push(waiting)
    }
    this.queue = rest
    return batch
  }

  /** @returns null when the batch is to be made anew. */
  private async deliver(batch: Waiting[]): Promise<readonly Outcome[] | null> {
    let pauseMs = MIN_PAUSE_MS
    this.requestNumber += 1
    for (;;) {
      const body = { number: this.requestNumber, messages: batch.map(({ wire }) => wire) }
      try {
        const { messages } = await this.api.call<{ messages: Outcome[] }>('POST', '/messages', body)
        this.maxBatchMessages = Math.min(MAX_BATCH_MESSAGES, 2 * this.maxBatchMessages)
        return messages
      } catch (error) {
        if (!(error instanceof SluiceError)) throw error
        const { code, message } = error
        if (code === 'INVALID_REQUEST' || code === 'RECORD_TOO_LARGE') {
          // One of them is what the node does not take: the others go without it.
          if (batch.length === 1) return [{ error: code, message }]
          this.maxBatchMessages = Math.ceil(batch.length / 2)
          return null
        }
        this.dropQos0(batch)
        if (batch.length === 0) return []
        await pause(pauseMs, this.stopped.signal)
        if (this.stopped.signal.aborted) return null
        pauseMs = Math.min(2 * pauseMs, MAX_PAUSE_MS)
      }
    }
  }

  /** Whether they were stored nobody knows, and they have no number. */
  private dropQos0(batch: Waiting[]): void {
    const kept = batch.filter(({ number }) => number !== null)
    for (const waiting of batch)
      if (waiting.number === null) this.settle(waiting, new SluiceError('NOT_REACHABLE', 'the node did not answer'))
    batch.splice(0, batch.length, ...kept)
  }

  private settleAll(batch: readonly Waiting[], outcomes: readonly Outcome[]): void {
    const again: Waiting[] = []
    const failed = new Set<string>()
    for (const [i, waiting] of batch.entries()) {
      const outcome: Outcome = outcomes[i] ?? { error: 'INTERNAL', message: 'the node said nothing of this message' }
      const { number, isOurs } = waiting
      if ('duplicate' in outcome) {
        waiting.duplicate = outcome.duplicate
        this.settle(waiting, null)
      } else if ('skipped' in outcome && isOurs) {
        again.push(waiting)
      } else {
        if (number !== null && !isOurs) failed.add(number.by)
        this.settle(waiting, 'skipped' in outcome ? BEHIND : errorCalled(outcome.error, outcome.message))
      }
    }
    const [behind, rest] = [[] as Waiting[], [] as Waiting[]]
    for (const waiting of this.queue)
      (waiting.number !== null && failed.has(waiting.number.by) ? behind : rest).push(waiting)
    this.queue = [...again, ...rest]
    for (const waiting of behind) this.settle(waiting, BEHIND)
  }

  private settle(waiting: Waiting, error: SluiceError | null): void {
    const { number, bytes } = waiting
    this.waitingBytes -= bytes
    if (number !== null) this.byNumber.delete(nameOf(number.by, number.epoch, number.sequence))
    if (error === null) waiting.resolve()
    else waiting.reject(error)
  }
}

const BEHIND = new SluiceError('TOO_MANY_REQUESTS', 'a message before it was refused')

function nameOf(by: string, epoch: number, sequence: number): string {
  return `${epoch}/${sequence}/${by}`
}
