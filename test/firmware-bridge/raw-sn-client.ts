// An MQTT-SN client that knows bytes and nothing else: what it sends is written out by hand, and what it gets is compared in hex. Independent of
// the gateway's codec.

import { createSocket, type Socket } from 'node:dgram'

const DEFAULT_WAIT_MS = 30_000

export class RawSnClient {
  readonly received: string[] = []
  private waiters: (() => void)[] = []

  private constructor(
    private readonly socket: Socket,
    private readonly port: number,
  ) {
    socket.on('message', (datagram) => {
      this.received.push(datagram.toString('hex'))
      const { waiters } = this
      this.waiters = []
      for (const wake of waiters) wake()
    })
  }

  /** @param localAddress Another loopback address makes another host of it. */
  static async open(port: number, localAddress = '127.0.0.1'): Promise<RawSnClient> {
    const socket = createSocket('udp4')
    await new Promise<void>((resolve) => socket.bind(0, localAddress, resolve))
    return new RawSnClient(socket, port)
  }

  close(): void {
    this.socket.close()
  }

  /** Type and fields; the length is put in front. */
  send(...fields: readonly (number | string | Uint8Array)[]): void {
    const body = Buffer.concat(
      fields.map((field) => (typeof field === 'number' ? Buffer.of(field) : Buffer.from(field))),
    )
    const bytes = body.length + 1
    this.sendBytes(Buffer.concat([bytes < 256 ? Buffer.of(bytes) : w3(bytes + 2), body]))
  }

  sendBytes(bytes: Uint8Array): void {
    this.socket.send(bytes, this.port, '127.0.0.1')
  }

  /** The next datagram, in hex. */
  async next(waitMs = DEFAULT_WAIT_MS): Promise<string> {
    const deadline = performance.now() + waitMs
    while (this.received.length === 0) {
      const leftMs = deadline - performance.now()
      if (leftMs <= 0) throw new Error(`nothing came within ${waitMs} ms`)
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, leftMs)
        this.waiters.push(() => {
          clearTimeout(timer)
          resolve()
        })
      })
    }
    return this.received.shift() as string
  }

  /** @returns whether nothing comes for so long. */
  async isSilent(ms: number): Promise<boolean> {
    return this.next(ms).then(
      () => false,
      () => true,
    )
  }

  /** CONNECT, and its CONNACK. @param flags 4: clean session, 8: will. */
  async connect(clientId: string, { flags = 4, keepalive = 60 } = {}): Promise<string> {
    this.send(0x04, flags, 1, w(keepalive), clientId)
    return this.next()
  }

  /** @returns the topic id. */
  async register(topicName: string, messageId = 1): Promise<number> {
    this.send(0x0a, w(0), w(messageId), topicName)
    const regack = await this.next()
    if (!regack.startsWith('070b') || !regack.endsWith('00')) throw new Error(`not registered: ${regack}`)
    return Number.parseInt(regack.slice(4, 8), 16)
  }
}

/** Two bytes. */
export function w(value: number): Uint8Array {
  return Uint8Array.of(value >> 8, value & 0xff)
}

function w3(length: number): Buffer {
  return Buffer.of(1, length >> 8, length & 0xff)
}
