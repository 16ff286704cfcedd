// Whoever can be subscribed: a session, or a shared group, of which one member at a time gets a message.

import type { Session } from './session.js'
import type { SharedGroup } from './shared-group.js'

export type Subscriber = Session | SharedGroup

/** Who gets messages of a topic: a match result kept for later, valid while the tree of subscriptions has the same version. */
export interface TopicMatches {
  readonly version: number
  /** Connected sessions, whatever their QoS: who gets a QoS 0 message. */
  readonly connected: readonly Session[]
  /** Connected sessions granted QoS 0: who gets a QoS 1 or 2 message at once, without waiting for its commit. */
  readonly connectedQos0: readonly Session[]
  /** Connected subscribers granted QoS 1 or 2: who gets stored messages of these. */
  readonly stored: readonly Subscriber[]
  /** Groups of which a member gets a QoS 0 message, and those of which a member gets others at once. */
  readonly shared: readonly SharedGroup[]
  readonly sharedQos0: readonly SharedGroup[]
}
