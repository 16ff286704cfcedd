// The door for other nodes that forward to this one: what they publish below `$sluice/` goes neither to a stream nor to subscribers but to whoever
// implements this (src/replication). One port, one login and one TLS set-up serve devices and nodes.

import { publishSize, writePublish } from './encode.js'

/** Topics that are for nodes alone. */
export const NODE_TOPIC_PREFIX = '$sluice/'
/** Never published to: an ACL file says with it whose records a login may bring. */
export const ORIGIN_TOPIC_PREFIX = '$sluice/origin/'

export interface NodeLinks {
  /** Where a node publishes; other names below the prefix are refused. */
  readonly upTopic: string
  readonly downTopic: string
  /** Largest packet of a connection that has been admitted, inclusive. */
  readonly maxFrameBytes: number
  open(peer: NodePeer): NodeLink
}

/** The connection, as seen from behind the door. */
export interface NodePeer {
  /** Publishes to the node, at QoS 0 and to `downTopic`. */
  send(payload: Buffer): void
  /** Whether its login may bring what was first acknowledged at this node: whether it may write `$sluice/origin/ORIGIN`. */
  mayBring(origin: string): boolean
  /** It has shown that it is a node. */
  admitted(): void
  /** Closes once what was sent has left. */
  close(reason: string): void
}

export interface NodeLink {
  /** The payload stays as it is. @returns null if the next may come at once, else when it may. Never rejects. */
  receive(payload: Buffer): Promise<void> | null
  /** What `mayBring` answers may have changed. */
  accessChanged(): void
  /** The connection is gone. */
  end(): void
}

const PLAIN = { retain: false, dup: false }

export function encodeForNode(mqttTopic: string, payload: Buffer): Buffer {
  const topic = Buffer.from(mqttTopic)
  const packet = Buffer.allocUnsafe(publishSize(topic.length, payload.length, 0))
  writePublish(packet, 0, topic, payload, 0, payload.length, 0, PLAIN, 0)
  return packet
}
