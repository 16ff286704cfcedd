// Readings published to a node under running numbers, all of them acknowledged.

import { readings } from '../../scripts/readings.js'
import { numbered } from './delivery-check.js'
import type { NodeProcess } from './node-process.js'
import { ReliablePublisher } from './reliable-publisher.js'

/** Resolves once the node has acknowledged the readings `from` to `from + count - 1`. */
export async function publishReadings(node: NodeProcess, count: number, from = 0): Promise<void> {
  const publisher = new ReliablePublisher({ url: node.mqttUrl, clientId: 'sensors', window: 500, reconnectMs: 50 })
  const source = readings()
  for (let n = from; n < from + count; n++) publisher.publish(numbered(source.next().value, n))
  await publisher.allAcked()
  publisher.close()
}
