// Sends one connected session the retained messages that its subscriptions are due, one filter after the other, so that a client that
// subscribes again and again and takes nothing costs no more than one that does so once. Used by subscription-requests.

import type { Qos } from '../record/record.js'
import type { Who } from './acl-file.js'
import type { RetainedMessages, RetainedValue } from './retained-messages.js'
import type { Session } from './session.js'
import type { SessionPump } from './session-pump.js'
import type { SysTopics } from './sys-topics.js'

export interface RetainedSenderHost {
  readonly retained: RetainedMessages
  readonly sys: SysTopics
  readonly mayReceive: (session: Session, mqttTopic: string) => boolean
  readonly mayPublish: (who: Who, mqttTopic: string) => boolean
}

export class RetainedSender {
  private running = false
  /** What is being sent, and whether it was asked for again meanwhile. */
  private filter: string | null = null
  private again = false

  constructor(
    private readonly session: Session,
    private readonly pump: SessionPump,
    private readonly host: RetainedSenderHost,
  ) {}

  /** The session has subscribed: all that the filter matches is sent, from the start where that is under way. */
  due(filter: string, qos: Qos): void {
    this.session.retainedDue.set(filter, qos)
    if (filter === this.filter) this.again = true
  }

  /** Sends whatever is due. Resolves when all is sent, or the connection gone; at once where it is under way. */
  async run(): Promise<void> {
    if (this.running) return
    this.running = true
    const { retainedDue } = this.session
    try {
      for (;;) {
        const next = retainedDue.entries().next()
        if (next.done) return
        const [filter, qos] = next.value
        this.filter = filter
        this.again = false
        if (!(await this.sendMatching(filter, qos))) return
        if (!this.again) retainedDue.delete(filter)
        this.session.dirty = true
      }
    } finally {
      this.filter = null
      this.running = false
    }
  }

  /** @returns false when the connection is gone. */
  private async sendMatching(filter: string, qos: Qos): Promise<boolean> {
    const { sys, retained } = this.host
    for (const message of sys.matching(filter)) if (!(await this.send(message, qos))) return false
    for await (const message of retained.matching(filter)) {
      // Unsubscribed, or subscribed anew, meanwhile.
      if (this.again || !this.session.retainedDue.has(filter)) return true
      if (!(await this.send(message, qos))) return false
    }
    return true
  }

  private async send(message: RetainedValue, qos: Qos): Promise<boolean> {
    const { mqttTopic, by } = message
    if (!this.host.mayReceive(this.session, mqttTopic)) return true
    // What a client has retained goes with its right to publish there (CVE-2018-12546).
    if (by !== undefined && !this.host.mayPublish(by, mqttTopic)) return true
    return this.pump.sendRetained(message, qos)
  }
}
