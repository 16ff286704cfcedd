// After a restart the gateway has no session key of any device, and a device that only listens would not notice: it is told that its session is not known
// here, again and again, more and more seldom, until it has said hello. The datagram is one that anybody could send: it costs the device a hello.

import { unknownSession } from './secure-sessions.js'

const MAX_INTERVAL_MS = 300_000

export class HelloReminder<C> {
  private readonly due = new Map<C, { session: Buffer; intervalMs: number; atMs: number }>()

  /** @param isNeeded Whether the client is there, and has not been heard under a new session. */
  constructor(
    private readonly send: (client: C, datagram: Buffer) => void,
    private readonly isNeeded: (client: C) => boolean,
    private readonly firstIntervalMs: number,
  ) {}

  /** @param session What the client knows its session by, in hex. */
  add(client: C, session: string): void {
    this.due.set(client, { session: Buffer.from(session, 'hex'), intervalMs: this.firstIntervalMs, atMs: 0 })
  }

  /** Now and then. */
  sweep(nowMs: number): void {
    for (const [client, reminder] of this.due) {
      if (!this.isNeeded(client)) this.due.delete(client)
      else if (nowMs >= reminder.atMs) {
        this.send(client, unknownSession(reminder.session))
        reminder.atMs = nowMs + reminder.intervalMs
        reminder.intervalMs = Math.min(2 * reminder.intervalMs, MAX_INTERVAL_MS)
      }
    }
  }
}
