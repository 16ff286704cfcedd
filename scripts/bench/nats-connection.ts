// As much of a NATS client as a JetStream pull consumer needs: publish, request, and messages counted as they come. NATS client protocol:
// `MSG SUBJECT SID [REPLY] BYTES`, `HMSG SUBJECT SID [REPLY] HEADER_BYTES BYTES`, a line each, followed by that many bytes and CRLF.

import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { fail } from './load-connection.js'

export interface NatsMessage {
  readonly sid: number
  readonly reply: string
  /** Carries headers: from JetStream, the status of a pull (such as 408) rather than a message. */
  readonly isStatus: boolean
  readonly payload: Buffer
}

const CR = 0x0d
const LINE_BREAK_BYTES = 2

export class NatsConnection {
  onMessage: (message: NatsMessage) => void = () => {}
  private rest: Buffer = Buffer.alloc(0)
  private inboxes = 0

  private constructor(readonly socket: Socket) {
    socket.on('error', (error) => fail(error.message))
    socket.on('data', (bytes) => this.take(bytes))
  }

  static async open(port: number): Promise<NatsConnection> {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true })
    await once(socket, 'connect')
    const connection = new NatsConnection(socket)
    socket.write('CONNECT {"verbose":false,"pedantic":false,"headers":true,"lang":"bench","version":"1"}\r\n')
    return connection
  }

  subscribe(subject: string, sid: number): void {
    this.socket.write(`SUB ${subject} ${sid}\r\n`)
  }

  /** @returns false when the socket holds more than it should: wait for `drain`. */
  publish(subject: string, payload: string, reply = ''): boolean {
    return this.socket.write(`PUB ${subject} ${reply === '' ? '' : `${reply} `}${payload.length}\r\n${payload}\r\n`)
  }

  /** Asks JetStream's API; its refusal ends the program. */
  async ask<T>(subject: string, body: unknown): Promise<T> {
    this.inboxes += 1
    const [inbox, sid] = [`_INBOX.ask.${process.pid}.${this.inboxes}`, 1_000_000 + this.inboxes]
    this.subscribe(inbox, sid)
    const others = this.onMessage
    const answer = new Promise<Buffer>((resolve) => {
      this.onMessage = (message) => (message.sid === sid ? resolve(Buffer.from(message.payload)) : others(message))
    })
    this.publish(subject, body === undefined ? '' : JSON.stringify(body), inbox)
    const parsed = JSON.parse((await answer).toString()) as T & { error?: unknown }
    this.onMessage = others
    if (parsed.error !== undefined) fail(`${subject}: ${JSON.stringify(parsed.error)}`)
    return parsed
  }

  private take(chunk: Buffer): void {
    const bytes = this.rest.length === 0 ? chunk : Buffer.concat([this.rest, chunk])
    let at = 0
    for (;;) {
      const lineEnd = bytes.indexOf(CR, at)
      if (lineEnd === -1 || lineEnd + 1 >= bytes.length) break
      const line = bytes.toString('latin1', at, lineEnd)
      const bodyAt = lineEnd + LINE_BREAK_BYTES
      if (!line.startsWith('MSG ') && !line.startsWith('HMSG ')) {
        if (line === 'PING') this.socket.write('PONG\r\n')
        else if (line.startsWith('-ERR')) fail(line)
        at = bodyAt
        continue
      }
      const words = line.split(' ')
      const size = Number(words[words.length - 1])
      if (bodyAt + size + LINE_BREAK_BYTES > bytes.length) break
      const isStatus = words[0] === 'HMSG'
      const reply = words.length === (isStatus ? 6 : 5) ? words[3] : ''
      this.onMessage({ sid: Number(words[2]), reply, isStatus, payload: bytes.subarray(bodyAt, bodyAt + size) })
      at = bodyAt + size + LINE_BREAK_BYTES
    }
    this.rest = at === bytes.length ? Buffer.alloc(0) : Buffer.from(bytes.subarray(at))
  }
}
