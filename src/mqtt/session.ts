// What the broker knows of one client between its CONNECT and the end of its session [MQTT 3.1.1 section 4.1]: subscriptions, the
// QoS 2 handshakes it has begun, and what it is owed. A session with `clean` ends with its connection, the others survive it.

import type { Commit } from '../log/types.js'
import type { Qos } from '../record/record.js'
import type { Gate } from './gate.js'

export class Session {
  /** The connection that has it now. */
  gate: Gate | null = null
  readonly clientIdBytes: Buffer
  /** Granted QoS by filter. */
  readonly subscriptions = new Map<string, Qos>()
  /**
   * QoS 2 messages received and not yet released, by packet identifier, with the commit that holds them. A resend is answered from
   * here and not appended again [MQTT-4.3.3-2], on this connection or a later one.
   */
  readonly received = new Map<number, Commit>()
  username: string | undefined

  constructor(
    readonly clientId: string,
    readonly clean: boolean,
  ) {
    this.clientIdBytes = Buffer.from(clientId)
  }
}
