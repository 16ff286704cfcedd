// What the pumps of sessions and the shared groups ask of the node: where messages lie, who may have them, and where it is told what nobody will
// get. Made by the front.

import type { Logger } from '../base/logger.js'
import type { Offset } from '../record/record.js'
import type { FanOut } from './fan-out.js'
import type { MqttFrontOptions } from './mqtt-front-options.js'
import type { RetainedMessages } from './retained-messages.js'
import type { Session } from './session.js'
import type { SessionPumpHost } from './session-pump.js'
import type { SharedGroupHost } from './shared-group.js'
import type { StoredDelivery } from './stored-delivery.js'
import type { StoredPartition } from './stored-partition.js'

export interface DeliveryHostOptions {
  readonly fanOut: FanOut
  readonly retained: RetainedMessages
  readonly stored: StoredDelivery
  readonly logger: Logger
  readonly maxInflight: number
  readonly mayReceive: (session: Session, mqttTopic: string) => boolean
  readonly save: (session: Session) => Promise<void>
  readonly onOvertaken: MqttFrontOptions['onOvertaken']
}

export class DeliveryHost implements SessionPumpHost, SharedGroupHost {
  readonly fanOut: FanOut
  readonly retained: RetainedMessages
  readonly logger: Logger
  readonly maxInflight: number

  constructor(private readonly options: DeliveryHostOptions) {
    this.fanOut = options.fanOut
    this.retained = options.retained
    this.logger = options.logger
    this.maxInflight = options.maxInflight
  }

  mayReceive(session: Session, mqttTopic: string): boolean {
    return this.options.mayReceive(session, mqttTopic)
  }

  partition(name: string): StoredPartition | undefined {
    return this.options.stored.partition(name)
  }

  save(session: Session): Promise<void> {
    return this.options.save(session)
  }

  groupFailed(group: string, error: unknown): void {
    this.logger.error('delivery to a shared group failed', { group, error })
  }

  overtaken(destination: string, { stream, partition }: StoredPartition, from: number, to: number): void {
    const last = to - 1
    const fields = { session: destination, stream: stream.name, from, to: last }
    this.logger.warn('retention has removed messages that a session had not been sent', fields)
    this.options.onOvertaken?.(destination, stream.name, partition, from as Offset, last as Offset)
  }
}
