// The will of one client: what it says of it, and its publishing once the client is lost. Created by SnClient.

import type { BridgeNode } from '../devices/bridge-node.js'
import type { KnownDevice } from '../devices/device-table.js'
import { mayUseTopic, topicNameProblem } from '../devices/topic-rules.js'
import type { StoredWill } from './client-store.js'
import type { SnMessageOf } from './messages.js'

const NOTHING = Buffer.alloc(0)

export interface ClientWillOwner {
  readonly node: BridgeNode
  readonly known: KnownDevice
  readonly clientId: string
}

export class ClientWill {
  constructor(
    private readonly owner: ClientWillOwner,
    /** As it is kept: null for none. */
    public stored: StoredWill | null,
  ) {}

  mayBeOn(topicName: string): boolean {
    const { known } = this.owner
    const fits = topicNameProblem(topicName) === null && !`${known.topicPrefix}${topicName}`.startsWith('$')
    return fits && mayUseTopic(known, topicName)
  }

  /** WILLTOPICUPD; without a topic the will is taken away. @returns whether it is accepted. */
  updateTopic({ will }: SnMessageOf<'willtopicupd'>): boolean {
    if (will === null) {
      this.stored = null
      return true
    }
    if (!this.mayBeOn(will.willTopic)) return false
    const { willTopic: topicName, qos, retain } = will
    this.stored = { topicName, qos, retain, payload: this.stored?.payload ?? NOTHING }
    return true
  }

  /** WILLMSGUPD. @returns whether there is a will that it could be of. */
  updateMessage({ payload }: SnMessageOf<'willmsgupd'>): boolean {
    if (this.stored === null) return false
    // A copy: the datagram's bytes are not ours for longer than this call.
    this.stored = { ...this.stored, payload: Buffer.from(payload) }
    return true
  }

  /** Resolves once the log has it; at once where there is none. */
  async publish(): Promise<void> {
    if (this.stored === null) return
    const { node, known, clientId } = this.owner
    const { topicName, payload, qos, retain } = this.stored
    await node.publish({ mqttTopic: known.topicPrefix + topicName, payload, qos, retain, clientId }).durable
  }
}
