// The QoS 2 handshakes a client has begun (MQTT 3.1.1 section 4.3.3, with the log as the place where the message is kept). An identifier is
// taken from the first PUBLISH until the end of the handshake is durable; a resend in between, on this connection or a later one, is
// answered from here and not appended again [MQTT-4.3.3-2].
//
// For a session that outlives its connection the identifier is a fact of the stream, stored in one commit with the message and taken away
// at PUBREL: after a crash it is there exactly if the message is. Fact name: `qos2/CLIENT/GENERATION/PACKETID`, empty value.

import { SluiceError } from '../base/errors.js'
import type { Commit, Stream } from '../log/types.js'
import { SettableCommit } from './settable-commit.js'

const FACT_KIND = 'qos2/'
const NOTHING = Buffer.alloc(0)
const DURABLE = SettableCommit.settled(null)

interface Handshake {
  /** What holds the message. */
  readonly commit: Commit
  /** Where the fact is; null without one. */
  readonly stream: Stream | null
  /** PUBREL has come: what takes the fact away. */
  released: Commit | null
  readonly restored?: true
}

/** What the facts of a session begin with. @param generation Tells sessions of one client apart. */
export function handshakePrefix(clientId: string, generation: number): string {
  return `${FACT_KIND}${clientId}/${generation}/`
}

export class ReceivedMessages {
  private readonly handshakes = new Map<number, Handshake>()

  /** @param prefix See `handshakePrefix`; null for a session that ends with its connection. */
  constructor(private readonly prefix: string | null) {}

  /** Handshakes begun and not ended. */
  get size(): number {
    return this.handshakes.size
  }

  /** What the answer to a resend waits for; undefined when the identifier is free. */
  find(packetId: number): Commit | undefined {
    const known = this.handshakes.get(packetId)
    return known === undefined || known.commit.state === 'failed' ? undefined : known.commit
  }

  /** Whether an earlier run of the node has taken it: of its message only the record is known to be there. */
  isRestored(packetId: number): boolean {
    return this.handshakes.get(packetId)?.restored === true
  }

  /**
   * Begins a handshake: `publish` appends the message to `stream`, or to none.
   * @throws SluiceError whatever the log throws; then nothing has begun.
   */
  take(packetId: number, stream: Stream | null, publish: () => Commit | null): Commit {
    const factStream = this.prefix === null ? null : stream
    factStream?.setFact(this.prefix + String(packetId), NOTHING)
    try {
      const commit = publish() ?? DURABLE
      this.handshakes.set(packetId, { commit, stream: factStream, released: null })
      return commit
    } catch (error) {
      if (factStream !== null) takeAway(factStream, this.prefix + String(packetId))
      throw error
    }
  }

  /**
   * Ends a handshake.
   * @returns what PUBCOMP waits for: were it sent before, a crash could leave the identifier taken, and the next message under it would be lost.
   */
  release(packetId: number): Commit | null {
    const known = this.handshakes.get(packetId)
    if (known === undefined) return null
    if (known.stream === null) {
      this.handshakes.delete(packetId)
      return null
    }
    if (known.released === null || known.released.state === 'failed') {
      known.released = takeAway(known.stream, this.prefix + String(packetId))
      known.released.onSettled((error) => {
        if (error === null && this.handshakes.get(packetId) === known) this.handshakes.delete(packetId)
      })
    }
    return known.released
  }

  /** Takes over what an earlier run of the node has stored. */
  restore(found: ReadonlyMap<number, Stream>): void {
    for (const [packetId, stream] of found)
      this.handshakes.set(packetId, { commit: DURABLE, stream, released: null, restored: true })
  }

  /** What `restore` would need, when this goes from memory; null while something is under way. */
  stored(): ReadonlyMap<number, Stream> | null {
    const stored = new Map<number, Stream>()
    for (const [packetId, { commit, stream, released }] of this.handshakes) {
      if (commit.state === 'pending' || released?.state === 'pending') return null
      if (stream !== null && commit.state === 'durable') stored.set(packetId, stream)
    }
    return stored
  }

  /** The session is over: nothing of it is left. */
  forget(): void {
    for (const [packetId, { stream }] of this.handshakes)
      if (stream !== null) takeAway(stream, this.prefix + String(packetId))
    this.handshakes.clear()
  }
}

function takeAway(stream: Stream, name: string): Commit {
  try {
    return stream.setFact(name, null)
  } catch (error) {
    if (!(error instanceof SluiceError)) throw error
    return SettableCommit.settled(error)
  }
}

/** Handshakes of durable sessions that are not in memory, by `handshakePrefix`. */
export class StoredHandshakes {
  private readonly byPrefix = new Map<string, Map<number, Stream>>()

  /** @param isSession Whether a session with this prefix exists; facts of others are removed. */
  constructor(streams: readonly Stream[], isSession: (prefix: string) => boolean) {
    for (const stream of streams)
      for (const name of stream.facts(FACT_KIND).keys()) {
        const end = name.lastIndexOf('/') + 1
        const prefix = name.slice(0, end)
        if (!isSession(prefix)) {
          takeAway(stream, name)
          continue
        }
        let found = this.byPrefix.get(prefix)
        if (found === undefined) this.byPrefix.set(prefix, (found = new Map()))
        found.set(Number(name.slice(end)), stream)
      }
  }

  claim(prefix: string): ReadonlyMap<number, Stream> {
    const found = this.byPrefix.get(prefix) ?? new Map<number, Stream>()
    this.byPrefix.delete(prefix)
    return found
  }

  put(prefix: string, handshakes: ReadonlyMap<number, Stream>): void {
    if (handshakes.size > 0) this.byPrefix.set(prefix, new Map(handshakes))
  }
}
