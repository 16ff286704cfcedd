// Who a datagram is from, for devices that share a key with the bridge; MQTT-SN 1.2 itself has nothing for it. Types of its reserved range carry
// its messages, each with a number and a code made with a key that only one session has: what is recorded and sent again, or made up,
// is noticed. Nothing is hidden: that would take DTLS. The C side is ../c/sluice_mqttsn.c.
//
//   hello     = length f0 version device-nonce mac device-id             ; device → gateway; nonces: 8 random bytes, mac: 8 bytes
//   challenge = length f1 version device-nonce gateway-nonce mac         ; gateway → device
//   sealed    = length f2 session number message mac                     ; both ways; number: u32, from 1, rising
//   unknown   = length f3 session                                        ; gateway → device: say hello again
//
//   hello's mac     = MAC(key, f0 version device-nonce device-id)
//   challenge's mac = MAC(key, f1 version device-nonce gateway-nonce device-id)
//   session         = the first 4 bytes of gateway-nonce
//   session-key     = HMAC-SHA-256(key, "mqtt-sn" version device-nonce gateway-nonce device-id)
//   sealed's mac    = MAC(session-key, direction session number message) ; direction: 0 from the device, 1 from the gateway
//
// A device says something under its new session at once, if only PINGREQ: until then nothing is sent to it. After a restart the gateway says `unknown`
// of the session before to every device it knows to be there.
//
// Bounded: four sessions per device, the one in use and those begun and not yet used.

import { randomBytes } from 'node:crypto'
import type { Rejection } from '../devices/device-registry.js'
import type { KnownDevice } from '../devices/device-table.js'
import { isMacOf, MAC_BYTES, macOf, sessionKeyOf } from '../devices/mac.js'
import { ReplayWindow } from '../devices/replay-window.js'
import { bodyStart, withLength } from './codec.js'

const HELLO = 0xf0
const CHALLENGE = 0xf1
const SEALED = 0xf2
const UNKNOWN = 0xf3
const VERSION = 1
const LABEL = Buffer.from('mqtt-sn\x01')
const FROM_DEVICE = Buffer.of(0)
const FROM_GATEWAY = Buffer.of(1)
const NONCE_BYTES = 8
const SESSION_BYTES = 4
const NUMBER_BYTES = 4
const MAX_SESSIONS_PER_DEVICE = 4
const MAX_NUMBER = 0xffff_ffff
/** Around a message of less than 234 bytes, and at most. */
export const MAX_SEAL_BYTES = 4 + SESSION_BYTES + NUMBER_BYTES + MAC_BYTES

export class SecureSession {
  private readonly received = new ReplayWindow()
  private sent = 0

  constructor(
    readonly device: KnownDevice,
    private readonly key: Buffer,
    private readonly deviceNonce: Buffer,
    private readonly gatewayNonce: Buffer,
    private readonly sessionKey: Buffer,
  ) {}

  get id(): Buffer {
    return this.gatewayNonce.subarray(0, SESSION_BYTES)
  }
  /** Its numbers are used up: the device must say hello again. */
  get isSpent(): boolean {
    return this.sent >= MAX_NUMBER
  }

  answers(deviceNonce: Buffer): boolean {
    return this.deviceNonce.equals(deviceNonce)
  }

  usesKey(key: Uint8Array | null | undefined): boolean {
    return key != null && this.key.equals(key)
  }

  challenge(): Buffer {
    const fields = Buffer.concat([Buffer.of(CHALLENGE, VERSION), this.deviceNonce, this.gatewayNonce])
    return withLength(CHALLENGE, fields.subarray(1), macOf(this.key, fields, Buffer.from(this.device.id)))
  }

  seal(message: Uint8Array): Buffer {
    this.sent += 1
    const number = u32(this.sent)
    return withLength(SEALED, this.id, number, message, macOf(this.sessionKey, FROM_GATEWAY, this.id, number, message))
  }

  /** @param content Number, message and MAC. @returns the message, a view. */
  open(content: Buffer): Buffer | Rejection {
    const message = content.subarray(NUMBER_BYTES, content.length - MAC_BYTES)
    const number = content.subarray(0, NUMBER_BYTES)
    const mac = content.subarray(content.length - MAC_BYTES)
    if (!isMacOf(mac, this.sessionKey, FROM_DEVICE, this.id, number, message)) return 'wrong_key'
    return this.received.accept(number.readUInt32BE(0)) ? message : 'replay'
  }
}

/** What a datagram of ours turned out to be. */
export type SecureDatagram =
  | { readonly answer: Buffer }
  | { readonly session: SecureSession; readonly message: Buffer }
  | { readonly rejected: Rejection; readonly deviceId?: string; readonly answer?: Buffer }

export class SecureSessions {
  private readonly byId = new Map<number, SecureSession>()
  /** The one in use first, if any is. */
  private readonly byDevice = new Map<string, SecureSession[]>()

  constructor(private readonly findDevice: (id: string) => KnownDevice | null) {}

  /** @returns null for a message of MQTT-SN itself. */
  take(datagram: Buffer): SecureDatagram | null {
    const at = bodyStart(datagram)
    if (at === null) return null
    const type = datagram[at]
    const fields = datagram.subarray(at + 1)
    if (type === HELLO) return this.hello(fields)
    if (type === SEALED) return this.sealed(fields)
    return type === CHALLENGE || type === UNKNOWN ? { rejected: 'refused' } : null
  }

  /** Sessions of devices that are no longer known, or have another key, are over. */
  devicesChanged(): void {
    for (const [deviceId, sessions] of this.byDevice) {
      const key = this.findDevice(deviceId)?.key
      for (const session of [...sessions]) if (!session.usesKey(key)) this.drop(session)
    }
  }

  private hello(fields: Buffer): SecureDatagram {
    const macAt = 1 + NONCE_BYTES
    const idAt = macAt + MAC_BYTES
    if (fields.length <= idAt) return { rejected: 'refused' }
    if (fields[0] !== VERSION) return { rejected: 'wrong_version' }
    const deviceId = fields.toString('utf8', idAt)
    const device = this.findDevice(deviceId)
    if (device === null || device.key === null) return { rejected: 'unknown_device' }
    const key = Buffer.from(device.key)
    if (!isMacOf(fields.subarray(macAt, idAt), key, Buffer.of(HELLO), fields.subarray(0, macAt), Buffer.from(deviceId)))
      return { rejected: 'wrong_key', deviceId }
    const nonce = Buffer.from(fields.subarray(1, macAt))
    const known = this.byDevice.get(deviceId)?.find((session) => session.answers(nonce))
    return { answer: (known ?? this.begin(device, key, nonce)).challenge() }
  }

  private begin(device: KnownDevice, key: Buffer, deviceNonce: Buffer): SecureSession {
    let gatewayNonce: Buffer
    do gatewayNonce = randomBytes(NONCE_BYTES)
    while (this.byId.has(gatewayNonce.readUInt32BE(0)))
    const sessionKey = sessionKeyOf(key, LABEL, deviceNonce, gatewayNonce, Buffer.from(device.id))
    const session = new SecureSession(device, key, deviceNonce, gatewayNonce, sessionKey)
    const sessions = this.byDevice.get(device.id) ?? []
    this.byDevice.set(device.id, sessions)
    // The one in use stays: whoever replays a hello cannot take it away.
    if (sessions.length >= MAX_SESSIONS_PER_DEVICE) this.drop(sessions[1])
    sessions.push(session)
    this.byId.set(gatewayNonce.readUInt32BE(0), session)
    return session
  }

  private sealed(fields: Buffer): SecureDatagram {
    if (fields.length < SESSION_BYTES + NUMBER_BYTES + MAC_BYTES + 2) return { rejected: 'refused' }
    const session = this.byId.get(fields.readUInt32BE(0))
    // Not sealed itself: a device takes it for a hint, and goes on as before until it is answered.
    if (session === undefined || session.isSpent)
      return { rejected: 'no_session', answer: unknownSession(fields.subarray(0, SESSION_BYTES)) }
    const message = session.open(fields.subarray(SESSION_BYTES))
    if (typeof message === 'string') return { rejected: message, deviceId: session.device.id }
    const sessions = this.byDevice.get(session.device.id) ?? []
    // Its first message shows that the device has the key: what was begun before it is over.
    while (sessions[0] !== undefined && sessions[0] !== session) this.drop(sessions[0])
    return { session, message }
  }

  private drop(session: SecureSession): void {
    this.byId.delete(session.id.readUInt32BE(0))
    const sessions = this.byDevice.get(session.device.id) ?? []
    const at = sessions.indexOf(session)
    if (at !== -1) sessions.splice(at, 1)
    if (sessions.length === 0) this.byDevice.delete(session.device.id)
  }
}

/** Tells a device to say hello again. */
export function unknownSession(session: Buffer): Buffer {
  return withLength(UNKNOWN, session)
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(NUMBER_BYTES)
  bytes.writeUInt32BE(value)
  return bytes
}
