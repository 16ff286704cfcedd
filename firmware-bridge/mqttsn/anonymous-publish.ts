// QoS -1 of nobody in particular (MQTT-SN 1.2, section 6.8): published without a connection, stored where a stream takes it, never acknowledged. With a key
// it is the device's.

import type { BridgeNode } from '../devices/bridge-node.js'
import type { Rejection } from '../devices/device-registry.js'
import type { KnownDevice } from '../devices/device-table.js'
import { mayUseTopic, topicNameProblem } from '../devices/topic-rules.js'
import type { PublishMessage } from './messages.js'
import { rejectionOf } from './publish-intake.js'

export interface AnonymousPublishHost {
  readonly node: Pick<BridgeNode, 'publish'>
  readonly predefined: ReadonlyMap<number, string>
  /** Null: nobody may without a key. */
  readonly anonymousPrefix: string | null
}

/** @param device Whose key it came under. @returns why it is not taken; null when it is. */
export function publishAnonymously(
  { topicIdType, topicId, payload, retain }: PublishMessage,
  device: KnownDevice | null,
  { node, predefined, anonymousPrefix }: AnonymousPublishHost,
): Rejection | null {
  const topicName =
    topicIdType === 'predefined' ? predefined.get(topicId) : Buffer.of(topicId >> 8, topicId & 0xff).toString()
  const prefix = device?.topicPrefix ?? anonymousPrefix
  const mqttTopic = `${prefix}${topicName}`
  if (topicIdType === 'normal' || topicName === undefined || topicNameProblem(mqttTopic) || mqttTopic[0] === '$')
    return 'topic_invalid'
  if (prefix === null || (device !== null && !mayUseTopic(device, topicName))) return 'topic_not_allowed'
  try {
    const clientId = device === null ? {} : { clientId: device.id }
    node.publish({ mqttTopic, payload, retain, qos: 0, ...clientId }).durable.catch(() => {})
    return null
  } catch (error) {
    return rejectionOf(error)
  }
}
