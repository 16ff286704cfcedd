// Every bound of the MQTT front, with its default. All are inclusive.

export interface MqttLimits {
  /** A control packet, header and all. */
  readonly maxPacketBytes: number
  /** The same before CONNECT has been accepted. */
  readonly maxConnectPacketBytes: number
  /** Received over all connections and no message yet: packets and WebSocket messages that are not whole, and what waits while reading is held back. */
  readonly maxHeldBytes: number
  readonly maxConnections: number
  readonly maxConnectionsPerAddress: number
  /** New connections, on average, over all listeners. */
  readonly maxConnectionsPerSecond: number
  /** From the opening of a connection to its CONNECT. */
  readonly connectTimeoutMs: number
  /** A longer keepalive, or none, is treated as this one, seconds; 0: no limit. Tells a dead peer in the end. */
  readonly maxKeepaliveSeconds: number
  readonly maxClientIdBytes: number
  readonly maxSubscriptionsPerClient: number
  /** Subscriptions to `$stream/…` at a time, per client and over all; each reads 64 KB at a time. */
  readonly maxReplaysPerClient: number
  readonly maxReplays: number
  /** QoS 2 handshakes begun and not ended, per client; the protocol allows 65,535. */
  readonly maxQos2HandshakesPerClient: number
  /** The same for a session that outlives its connection: each of these is stored. */
  readonly maxDurableQos2HandshakesPerClient: number
  /** Acknowledgements a connection may be owed; reading stops at this number. A power of two. */
  readonly maxUnacknowledged: number
  /** Bytes waiting to be written to one connection; beyond it QoS 0 messages are dropped or the connection is closed. */
  readonly maxQueuedBytesPerConnection: number
  readonly onQueueFull: 'drop' | 'disconnect'
  /** A connection whose queue is full and that has taken nothing for this long is closed. */
  readonly stalledTimeoutMs: number
  /** QoS 1 and 2 messages sent to one client and not yet acknowledged by it. */
  readonly maxInflightPerClient: number
  /** Sessions with `clean` unset, connected or not: beyond it new ones are refused. */
  readonly maxDurableSessions: number
  /** Of these, the ones kept in memory for clients that are not connected; the others are read back when they return. */
  readonly maxOfflineSessionsInMemory: number
  /** Groups of shared subscriptions, over all clients. */
  readonly maxSharedGroups: number
  readonly maxRetainedMessages: number
  /** Topic names remembered by the router. */
  readonly cachedTopics: number
}

export const DEFAULT_MQTT_LIMITS: MqttLimits = {
  maxPacketBytes: 256 * 1024,
  maxConnectPacketBytes: 64 * 1024,
  maxHeldBytes: 64 * 1024 * 1024,
  maxConnections: 10_000,
  maxConnectionsPerAddress: 10_000,
  maxConnectionsPerSecond: 1_000,
  connectTimeoutMs: 10_000,
  maxKeepaliveSeconds: 0,
  maxClientIdBytes: 256,
  maxSubscriptionsPerClient: 1_000,
  maxReplaysPerClient: 8,
  maxReplays: 64,
  maxQos2HandshakesPerClient: 65_535,
  maxDurableQos2HandshakesPerClient: 10_000,
  maxUnacknowledged: 65_536,
  maxQueuedBytesPerConnection: 1024 * 1024,
  onQueueFull: 'drop',
  stalledTimeoutMs: 30_000,
  maxInflightPerClient: 100,
  maxDurableSessions: 10_000,
  maxOfflineSessionsInMemory: 1_000,
  maxSharedGroups: 1_000,
  maxRetainedMessages: 100_000,
  cachedTopics: 8_192,
}
