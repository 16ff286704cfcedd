// The messages of MQTT-SN 1.2, as the gateway and the codec (codec.ts) know them. Names are the specification's.

/** Section 5.3.4: what a topic id is. `name` only in SUBSCRIBE and UNSUBSCRIBE, where `normal` cannot be. */
export type TopicIdType = 'normal' | 'predefined' | 'short'
/** -1: published without a connection. */
export type SnQos = -1 | 0 | 1 | 2

export const RETURN_CODE = { accepted: 0, congestion: 1, invalidTopicId: 2, notSupported: 3 } as const

/** What SUBSCRIBE and UNSUBSCRIBE name: a topic name or filter, a short name included, or a predefined id. */
export type SubscribedTopic =
  | { readonly topicIdType: 'normal' | 'short'; readonly topicName: string }
  | { readonly topicIdType: 'predefined'; readonly topicId: number }

/** The topic of a will; an empty WILLTOPIC or WILLTOPICUPD has none, and takes the will away. */
export interface WillTopicFields {
  readonly qos: 0 | 1 | 2
  readonly retain: boolean
  readonly willTopic: string
}

export interface PublishMessage {
  readonly type: 'publish'
  readonly dup: boolean
  readonly qos: SnQos
  readonly retain: boolean
  readonly topicIdType: TopicIdType
  /** Of a short topic name: its two bytes as a number. */
  readonly topicId: number
  /** 0 for QoS 0 and -1. */
  readonly messageId: number
  /** A view of what was decoded. */
  readonly payload: Uint8Array
}

export interface ConnectMessage {
  readonly type: 'connect'
  readonly will: boolean
  readonly cleanSession: boolean
  readonly protocolId: number
  /** Keepalive, seconds. */
  readonly duration: number
  readonly clientId: string
}

export type SnMessage =
  | { readonly type: 'advertise'; readonly gatewayId: number; readonly duration: number }
  | { readonly type: 'searchgw'; readonly radius: number }
  | { readonly type: 'gwinfo'; readonly gatewayId: number; readonly gatewayAddress: Uint8Array }
  | ConnectMessage
  | { readonly type: 'connack'; readonly returnCode: number }
  | { readonly type: 'willtopicreq' }
  | { readonly type: 'willtopic'; readonly will: WillTopicFields | null }
  | { readonly type: 'willmsgreq' }
  | { readonly type: 'willmsg'; readonly payload: Uint8Array }
  | { readonly type: 'register'; readonly topicId: number; readonly messageId: number; readonly topicName: string }
  | { readonly type: 'regack'; readonly topicId: number; readonly messageId: number; readonly returnCode: number }
  | PublishMessage
  | { readonly type: 'puback'; readonly topicId: number; readonly messageId: number; readonly returnCode: number }
  | { readonly type: 'pubcomp'; readonly messageId: number }
  | { readonly type: 'pubrec'; readonly messageId: number }
  | { readonly type: 'pubrel'; readonly messageId: number }
  | {
      readonly type: 'subscribe'
      readonly dup: boolean
      readonly qos: 0 | 1 | 2
      readonly messageId: number
      readonly topic: SubscribedTopic
    }
  | {
      readonly type: 'suback'
      readonly qos: 0 | 1 | 2
      readonly topicId: number
      readonly messageId: number
      readonly returnCode: number
    }
  | { readonly type: 'unsubscribe'; readonly messageId: number; readonly topic: SubscribedTopic }
  | { readonly type: 'unsuback'; readonly messageId: number }
  /** With the client's id: an asleep client is awake. */
  | { readonly type: 'pingreq'; readonly clientId: string | null }
  | { readonly type: 'pingresp' }
  /** With a duration, seconds: the client goes to sleep. */
  | { readonly type: 'disconnect'; readonly duration: number | null }
  | { readonly type: 'willtopicupd'; readonly will: WillTopicFields | null }
  | { readonly type: 'willtopicresp'; readonly returnCode: number }
  | { readonly type: 'willmsgupd'; readonly payload: Uint8Array }
  | { readonly type: 'willmsgresp'; readonly returnCode: number }

export type SnMessageOf<T extends SnMessage['type']> = Extract<SnMessage, { type: T }>
