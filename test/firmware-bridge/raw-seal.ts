// The seal of firmware-bridge/mqttsn/secure-sessions.ts as its grammar has it, written once more for the tests, so that they do not believe the gateway.

import { createHmac } from 'node:crypto'
import type { RawSnClient } from './raw-sn-client.js'

const DEVICE_NONCE = Buffer.from('a0a1a2a3a4a5a6a7', 'hex')

export class RawSeal {
  private session: Buffer = Buffer.alloc(0)
  private sessionKey: Buffer = Buffer.alloc(0)
  private number = 0

  constructor(
    readonly client: RawSnClient,
    private readonly id: string,
    private readonly key: Buffer,
    private readonly nonce = DEVICE_NONCE,
  ) {}

  get sessionHex(): string {
    return this.session.toString('hex')
  }

  helloBytes(): Buffer {
    const fields = Buffer.concat([Buffer.of(0xf0, 1), this.nonce])
    return framed(fields, mac(this.key, fields, Buffer.from(this.id)), Buffer.from(this.id))
  }

  /** Says hello; @throws Error when the challenge is not the gateway's. */
  async hello(): Promise<void> {
    this.client.sendBytes(this.helloBytes())
    let challenge = Buffer.from(await this.client.next(), 'hex')
    // What was on its way before.
    while (challenge[1] === 0xf3) challenge = Buffer.from(await this.client.next(), 'hex')
    if (challenge.length !== 27 || challenge[0] !== 27 || challenge[1] !== 0xf1) throw new Error('no challenge')
    if (!mac(this.key, challenge.subarray(1, 19), Buffer.from(this.id)).equals(challenge.subarray(19)))
      throw new Error('the challenge is not from who has the key')
    const nonces = challenge.subarray(3, 19)
    this.session = challenge.subarray(11, 15)
    this.sessionKey = hmac(this.key, Buffer.from('mqtt-sn\x01'), nonces, Buffer.from(this.id))
    this.number = 0
  }

  /** @param hex A message. */
  sealed(hex: string, number = ++this.number): Buffer {
    const message = Buffer.from(hex, 'hex')
    const head = Buffer.concat([this.session, Buffer.of(0, 0, number >> 8, number & 0xff)])
    return framed(Buffer.of(0xf2), head, message, mac(this.sessionKey, Buffer.of(0), head, message))
  }

  send(hex: string): void {
    this.client.sendBytes(this.sealed(hex))
  }

  /** The message in the next datagram, in hex. */
  async next(waitMs?: number): Promise<string> {
    const wire = Buffer.from(await this.client.next(waitMs), 'hex')
    const message = wire.subarray(10, -8)
    if (wire[0] !== wire.length || wire[1] !== 0xf2 || !wire.subarray(2, 6).equals(this.session))
      throw new Error(`not sealed: ${wire.toString('hex')}`)
    if (!mac(this.sessionKey, Buffer.of(1), wire.subarray(2, 10), message).equals(wire.subarray(-8)))
      throw new Error('forged')
    return message.toString('hex')
  }
}

function hmac(key: Buffer, ...parts: readonly Buffer[]): Buffer {
  return createHmac('sha256', key).update(Buffer.concat(parts)).digest()
}

function mac(key: Buffer, ...parts: readonly Buffer[]): Buffer {
  return hmac(key, ...parts).subarray(0, 8)
}

function framed(...parts: readonly Buffer[]): Buffer {
  const body = Buffer.concat(parts)
  return Buffer.concat([Buffer.of(body.length + 1), body])
}
