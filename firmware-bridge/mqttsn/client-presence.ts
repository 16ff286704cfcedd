// Whether one client is there, and whether something waits for it. What is kept of it is durable before it is told so. Created by SnClient.
//
//            CONNECT                DISCONNECT, silence
//   gone ───────────────▶ active ───────────────────────▶ gone           a clean one is forgotten then
//                          │  ▲
//    DISCONNECT + duration │  │ CONNECT
//                          ▼  │
//                         asleep ──PINGREQ + client id──▶ awake ──all delivered: PINGRESP──▶ asleep

import type { Logger } from '../../src/index.js'
import type { Device } from '../devices/device-registry.js'
import type { ClientState, StoredClient, StoredWill } from './client-store.js'
import { type Endpoint, endpointKey } from './endpoint.js'
import { type ConnectMessage, RETURN_CODE, type SnMessage } from './messages.js'
import type { NodeSession } from './node-session.js'
import { Waking } from './waking.js'

/** A client is given up after so many times its keepalive or sleep of silence. */
const TOLERANCE = 1.5
/** The same CONNECT once more within this time is a copy that the network or an impatient client made. */
const COPY_MS = 3000

type StoredPresence = Pick<StoredClient, 'state' | 'keepaliveSeconds' | 'sleepSeconds' | 'clean' | 'hasSession'>

export interface ClientPresenceOwner {
  readonly clientId: string
  readonly device: Device
  readonly session: NodeSession
  readonly logger: Logger
  nowMs(): number
  send(message: SnMessage): void
  /** After what was begun before; see ProcedureQueue. */
  run(procedure: () => Promise<void>): void
  /** Durable when it resolves. */
  save(): Promise<void>
  /** A connection begins, from there; with a clean session nothing is left of the one before. */
  begin(cleanSession: boolean, will: StoredWill | null | undefined, from: Endpoint): void
  /** Resolves once the log has it; at once where there is none. */
  publishWill(): Promise<void>
  /** Nothing is kept of it any more. */
  remove(): Promise<void>
  heard(): void
}

export class ClientPresence {
  state: ClientState
  /** It has a session at the node. */
  hasSession: boolean
  private readonly waking: Waking
  private keepaliveSeconds: number
  private sleepSeconds: number
  private clean: boolean
  private lastHeardMs: number
  private ending = false
  private lastConnect: { readonly key: string; readonly atMs: number } | null = null

  constructor(
    private readonly owner: ClientPresenceOwner,
    stored: StoredPresence = { state: 'gone', keepaliveSeconds: 0, sleepSeconds: 0, clean: true, hasSession: false },
  ) {
    this.state = stored.state
    this.keepaliveSeconds = stored.keepaliveSeconds
    this.sleepSeconds = stored.sleepSeconds
    this.clean = stored.clean
    this.hasSession = stored.hasSession
    this.lastHeardMs = owner.nowMs()
    this.waking = new Waking(owner.session, () => {
      this.quiet()
      owner.send({ type: 'pingresp' })
    })
  }

  row(): StoredPresence {
    const { state, keepaliveSeconds, sleepSeconds, clean, hasSession } = this
    return { state, keepaliveSeconds, sleepSeconds, clean, hasSession }
  }

  get isListening(): boolean {
    return this.state === 'active' || this.waking.isAwake
  }

  /** After a restart: goes on as if there had been none. */
  resume(): void {
    this.owner.device.connected = this.state === 'active'
    if (this.state === 'active' && this.hasSession) void this.owner.session.open()
    else if (this.state === 'gone' && this.clean) this.owner.run(() => this.forget())
  }

  /** The gateway stops: clients are not told, they are to find everything as it was. */
  stop(): void {
    this.ending = true
    this.quiet()
  }

  /** A message from it has come, and is its own. */
  heard(): void {
    this.lastHeardMs = this.owner.nowMs()
  }

  /** Now and then: gives the client up when it has been silent for too long. */
  sweep(nowMs: number): void {
    const seconds = this.state === 'active' ? this.keepaliveSeconds : this.state === 'asleep' ? this.sleepSeconds : 0
    if (seconds > 0 && nowMs - this.lastHeardMs > seconds * 1000 * TOLERANCE) this.lose('silent for too long')
  }

  /** @param will What the client said of its will when it was asked: null takes an old one away; undefined leaves it. */
  connect(connect: ConnectMessage, will: StoredWill | null | undefined, from: Endpoint): void {
    const { owner } = this
    const key = JSON.stringify([connect, will === undefined, endpointKey(from)])
    owner.run(async () => {
      const { lastConnect } = this
      const isCopy = lastConnect?.key === key && owner.nowMs() - lastConnect.atMs < COPY_MS
      if (!isCopy || this.state !== 'active') await this.begin(connect, will, from)
      this.lastConnect = { key, atMs: owner.nowMs() }
      owner.send({ type: 'connack', returnCode: RETURN_CODE.accepted })
      if (this.hasSession) void owner.session.open()
    })
  }

  /** @param duration Seconds of sleep; null or 0: the client leaves. */
  disconnect(duration: number | null): void {
    const { owner } = this
    owner.run(async () => {
      if (this.state === 'gone') {
        owner.send({ type: 'disconnect', duration: null })
        return
      }
      this.quiet()
      this.state = duration ? 'asleep' : 'gone'
      this.sleepSeconds = duration ?? 0
      owner.device.connected = false
      await owner.save()
      owner.send({ type: 'disconnect', duration: null })
      if (this.state === 'gone' && this.clean) await this.forget()
    })
  }

  /** @param clientId As it came: an asleep client says with it that it is awake. */
  ping(clientId: string | null): void {
    if (this.state === 'gone') this.owner.send({ type: 'disconnect', duration: null })
    else if (this.state === 'active' || clientId === null || !this.hasSession) this.owner.send({ type: 'pingresp' })
    else this.waking.begin()
  }

  /** It is about to have a session at the node; durable when it resolves. */
  async needsSession(): Promise<void> {
    if (this.hasSession) return
    this.hasSession = true
    await this.owner.save()
  }

  /** Perhaps everything has been delivered. */
  idle(): void {
    this.waking.check()
  }

  /** A message was sent to it again and again, without an answer. */
  gaveUp(): void {
    if (this.waking.isAwake) this.quiet()
    else this.lose('it does not answer')
  }

  private async begin(connect: ConnectMessage, will: StoredWill | null | undefined, from: Endpoint): Promise<void> {
    const { owner } = this
    this.quiet()
    if (connect.cleanSession) await this.endSession()
    owner.begin(connect.cleanSession, will, from)
    this.clean = connect.cleanSession
    this.keepaliveSeconds = connect.duration
    this.sleepSeconds = 0
    this.state = 'active'
    owner.device.connected = true
    owner.heard()
    await owner.save()
  }

  /** Delivers nothing any more. */
  private quiet(): void {
    this.waking.end()
    this.owner.session.suspend()
  }

  /** Gone without a goodbye: its will is published, as soon as the log takes it. */
  private lose(reason: string): void {
    if (this.ending) return
    this.ending = true
    const { owner, lastHeardMs } = this
    owner.run(async () => {
      try {
        if (lastHeardMs !== this.lastHeardMs && reason !== 'it does not answer') return
        owner.logger.info('client lost', { client: owner.clientId, reason })
        this.quiet()
        await owner.publishWill()
        this.state = 'gone'
        owner.device.connected = false
        await owner.save()
        if (this.clean) await this.forget()
      } finally {
        this.ending = false
        // The will could not be published: until it can, nothing has changed.
        if (this.state === 'active' && this.hasSession) void owner.session.open()
      }
    })
  }

  private async forget(): Promise<void> {
    await this.endSession()
    await this.owner.remove()
  }

  private async endSession(): Promise<void> {
    if (this.hasSession) await this.owner.session.end()
    this.hasSession = false
  }
}
