// Wills of the connections there are, in the state store, so that a node that was killed publishes them when it starts again. Which
// connection a stored will belongs to is kept in memory: after a takeover the older connection must not delete the newer one's.

import type { Clock } from '../base/clock.js'
import { messageOf, SluiceError } from '../base/errors.js'
import type { Logger } from '../base/logger.js'
import type { Commit } from '../log/types.js'
import type { StateTable } from '../state/types.js'
import type { Who } from './acl-file.js'
import type { ConnectPacket } from './connect-packet.js'
import type { Gate } from './gate.js'
import type { PublishMessage } from './mqtt-front-options.js'

type Will = NonNullable<ConnectPacket['will']>

/** With what its client may do: the name it had logged in with, or that it is code of this process (see Session). */
export type StoredWill = Will & { readonly username?: string; readonly trusted?: boolean }

const RETRY_MS = 1000
/** Wills that wait for the log to take them again, each with what its connection was. */
const MAX_WAITING = 10_000

export interface WillsOptions {
  readonly table: StateTable<StoredWill>
  /** As MqttFront.publish. */
  readonly publish: (message: PublishMessage) => Commit
  readonly mayPublish: (who: Who & { readonly trusted?: boolean }, mqttTopic: string) => boolean
  readonly clock: Clock
  readonly logger: Logger
}

export class Wills {
  /** Whose will the store holds, by client identifier. */
  private readonly owners = new Map<string, Gate>()
  private readonly unfinished = new Set<Promise<void>>()
  private waiting = 0
  private stopping = false

  constructor(private readonly options: WillsOptions) {}

  /** Publishes the wills of connections that a node before this one never closed. One that cannot be published yet stays for the next start. */
  async publishLeftOver(): Promise<void> {
    const { table, publish, mayPublish } = this.options
    for await (const [clientId, { username, trusted = false, ...will }] of table.entries()) {
      try {
        const who = { clientId, username, trusted }
        const author = trusted ? null : who
        if (mayPublish(who, will.mqttTopic)) await publish({ ...will, clientId, author }).durable()
        else this.notPublished(clientId, will, NOT_ALLOWED)
      } catch (error) {
        this.notPublished(clientId, will, error)
        if (!isHopeless(error)) continue
      }
      await table.delete(clientId)
    }
  }

  /** CONNECT brought a will; resolves once it is durable. */
  keep(gate: Gate): Promise<void> {
    const { clientId, username, trusted } = gate.session!
    this.owners.set(clientId, gate)
    const rights = { ...(username !== undefined && { username }), ...(trusted && { trusted }) }
    return this.options.table.put(clientId, { ...gate.connectPacket!.will!, ...rights })
  }

  /** The connection ended without DISCONNECT: its will is published, as soon as the log takes it. */
  publish(gate: Gate): void {
    const { session } = gate
    const will = gate.connectPacket?.will
    if (session === null || !will) return
    const { clientId } = session
    const failed = (error: unknown): void => {
      this.notPublished(clientId, will, error)
      if (isHopeless(error) || this.waiting >= MAX_WAITING) this.drop(gate)
      // When the node is stopping it stays in the store, for the next start.
      else if (!this.stopping) this.publishLater(gate)
    }
    if (!this.options.mayPublish(session, will.mqttTopic)) {
      failed(NOT_ALLOWED)
      return
    }
    try {
      const commit = this.options.publish({ ...will, clientId, author: session.author })
      commit.onSettled((error) => (error === null ? this.drop(gate) : failed(error)))
    } catch (error) {
      failed(error)
    }
  }

  /** The will of this connection has been published, or is not to be [MQTT-3.1.2-10]. */
  drop(gate: Gate): void {
    const clientId = gate.session?.clientId
    if (clientId === undefined || this.owners.get(clientId) !== gate) return
    this.owners.delete(clientId)
    // Not waited for: a will that is left behind by a crash just now is published once more.
    const deleted = this.options.table
      .delete(clientId)
      .catch((error) => this.options.logger.error('a will could not be removed', { error }))
      .finally(() => this.unfinished.delete(deleted))
    this.unfinished.add(deleted)
  }

  /** Resolves when nothing is being written any more. */
  async stop(): Promise<void> {
    this.stopping = true
    await Promise.all(this.unfinished)
  }

  private publishLater(gate: Gate): void {
    this.waiting += 1
    this.options.clock.after(RETRY_MS, () => {
      this.waiting -= 1
      this.publish(gate)
    })
  }

  private notPublished(clientId: string, { mqttTopic }: Pick<Will, 'mqttTopic'>, error: unknown): void {
    this.options.logger.warn('will not published', { client: clientId, mqtt_topic: mqttTopic, error: messageOf(error) })
  }
}

const NOT_ALLOWED = new SluiceError('FORBIDDEN', 'its client may not publish to this topic')

/** Trying again would be in vain. */
function isHopeless(error: unknown): boolean {
  return error instanceof SluiceError && HOPELESS.has(error.code)
}

const HOPELESS: ReadonlySet<string> = new Set(['FORBIDDEN', 'INVALID_TOPIC', 'RECORD_TOO_LARGE'])
