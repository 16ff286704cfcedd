// Wills of the connections there are, in the state store, so that a node that was killed publishes them when it starts again. Which
// connection a stored will belongs to is kept in memory: after a takeover the older connection must not delete the newer one's.

import type { Clock } from '../base/clock.js'
import { messageOf } from '../base/errors.js'
import type { Logger } from '../base/logger.js'
import type { Commit } from '../log/types.js'
import type { StateTable } from '../state/types.js'
import type { ConnectPacket } from './connect-packet.js'
import type { Gate } from './gate.js'
import type { PublishMessage } from './mqtt-front-options.js'
import type { Session } from './session.js'

type Will = NonNullable<ConnectPacket['will']>

const RETRY_MS = 1000

export interface WillsOptions {
  readonly table: StateTable<Will>
  /** As MqttFront.publish. */
  readonly publish: (message: PublishMessage) => Commit
  readonly mayPublish: (session: Session, mqttTopic: string) => boolean
  readonly clock: Clock
  readonly logger: Logger
}

export class Wills {
  /** Whose will the store holds, by client identifier. */
  private readonly owners = new Map<string, Gate>()
  private readonly unfinished = new Set<Promise<void>>()
  private stopping = false

  constructor(private readonly options: WillsOptions) {}

  /** Publishes the wills of connections that a node before this one never closed. One that cannot be published stays for the next start. */
  async publishLeftOver(): Promise<void> {
    const { table, publish, logger } = this.options
    for await (const [clientId, will] of table.entries()) {
      try {
        await publish({ ...will, clientId }).durable()
        await table.delete(clientId)
      } catch (error) {
        logger.warn('will not published', { client: clientId, error: messageOf(error) })
      }
    }
  }

  /** CONNECT brought a will; resolves once it is durable. */
  keep(gate: Gate): Promise<void> {
    const { clientId } = gate.session!
    this.owners.set(clientId, gate)
    return this.options.table.put(clientId, gate.connectPacket!.will!)
  }

  /** The connection ended without DISCONNECT: its will is published, as soon as the log takes it. */
  publish(gate: Gate): void {
    const { session } = gate
    const will = gate.connectPacket?.will
    if (session === null || !will) return
    if (!this.options.mayPublish(session, will.mqttTopic)) {
      this.drop(gate)
      return
    }
    const again = (error: unknown): void => {
      this.options.logger.warn('will not published yet', { client: session.clientId, error: messageOf(error) })
      // When the node is stopping it stays in the store, for the next start.
      if (!this.stopping) this.options.clock.after(RETRY_MS, () => this.publish(gate))
    }
    try {
      const commit = this.options.publish({ ...will, clientId: session.clientId })
      commit.onSettled((error) => (error === null ? this.drop(gate) : again(error)))
    } catch (error) {
      again(error)
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
}
