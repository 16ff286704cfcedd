// What the MQTT front is given, takes in and tells: the types that node.ts works with.

import type { Clock } from '../base/clock.js'
import type { Logger } from '../base/logger.js'
import type { StreamCatalog } from '../log/types.js'
import type { Offset, Qos, RecordHeader } from '../record/record.js'
import type { StateStore } from '../state/types.js'
import type { AccessKind, Who } from './acl-file.js'
import type { DroppedRange } from './dropped-deliveries.js'
import type { MqttLimits } from './mqtt-limits.js'
import type { NodeLinks } from './node-links.js'
import type { StreamRoute } from './routes.js'
import type { TlsOptions } from './tls-identity.js'

/** Who asks, as CONNECT and the connection say. */
export interface Credentials {
  readonly clientId: string
  readonly username: string | undefined
  readonly password: Buffer | undefined
  readonly remoteAddress: string
  /** Whether its connection has ended meanwhile: then the answer does not matter. */
  readonly isGone?: () => boolean
}

export interface LoginRefusal {
  /** For the log, as a phrase; null where there is nothing to tell. */
  readonly reason: string | null
  /** Not for what it has said: the same may be welcome later. */
  readonly passing?: boolean
}

/** Of a record in a stream. */
export interface StoredPlace {
  readonly stream: string
  readonly partition: number
  readonly offset: Offset
}

export interface MqttFrontOptions {
  /** `host:port`, or with `mqtt://`, `mqtts://`, `ws://` or `wss://` in front; port 0 takes a free one. */
  readonly listen: readonly string[]
  /** Needed for mqtts:// and wss://. */
  readonly tls?: TlsOptions | undefined
  /** The name in a client's certificate, which TLS has verified, is its user name, whatever CONNECT says. */
  readonly certificateNameIsUser?: boolean
  /** Web pages of other hosts that may connect over WebSocket, as `https://panel.example`; `*` stands for all. */
  readonly allowedOrigins?: readonly string[]
  readonly catalog: StreamCatalog
  /** In the order of the configuration: the first whose filter matches takes a message. */
  readonly routes: readonly StreamRoute[]
  /** The stream for what is republished of mirrors. Left out: nothing is. */
  readonly republished?: string | undefined
  readonly limits?: Partial<MqttLimits>
  /** Resolves to whether the client may connect, or why not. Left out: everyone may. */
  readonly authenticate?: (credentials: Credentials) => Promise<boolean | LoginRefusal>
  /** Whether a client may publish to a topic, subscribe to a filter, or be given messages of a topic. Left out: always. */
  readonly authorize?: (who: Who, kind: AccessKind, topic: string) => boolean
  /** What subscribers at QoS 0 were not given because they read too slowly: for the ledger, now and then. */
  readonly onDropped?: (range: Readonly<DroppedRange>) => void
  /** Retention removed records [first, last] before this durable session was sent them: for the ledger. */
  readonly onOvertaken?: (clientId: string, stream: string, partition: number, first: Offset, last: Offset) => void
  /** Takes what other nodes forward. Left out: nothing is taken from them. */
  readonly nodes?: NodeLinks
  /** Further `$SYS/…` topics and their values. */
  readonly sysValues?: () => Iterable<readonly [mqttTopic: string, value: string]>
  /** For `$SYS/broker/version`. Default: `sluice`. */
  readonly version?: string
  readonly state: StateStore
  readonly clock: Clock
  readonly logger: Logger
}

export interface PublishMessage {
  readonly mqttTopic: string
  readonly payload: Uint8Array
  readonly qos: Qos
  readonly retain?: boolean
  /** Decides the partition where the stream's key is `client`. */
  readonly clientId?: string
  /** As long as this client may publish to the topic, it stays retained. Left out: always. */
  readonly author?: Who | null
  /** Stored with the record; MQTT 3.1.1 has nothing to deliver them in. */
  readonly headers?: readonly RecordHeader[]
}

export interface MqttStats {
  readonly connections: number
  /** Sessions that outlive their connection, connected or not; and of these, those that are not connected. */
  readonly durableSessions: number
  readonly offlineSessions: number
  readonly subscriptions: number
  readonly sharedGroups: number
  readonly retainedMessages: number
  readonly receivedMessages: number
  readonly receivedPayloadBytes: number
  /** Over all connections, protocol and all. */
  readonly receivedBytes: number
  readonly sentBytes: number
  readonly unroutedMessages: number
  readonly refusedMessages: number
  readonly deliveredMessages: number
  readonly droppedMessages: number
  readonly refusedConnections: number
}
