// A bad link for datagrams: what goes through may be lost, doubled or overtaken, by a seeded hand. Each address on the near side has a port of its
// own on the far side, as behind a NAT.

import { createSocket, type Socket } from 'node:dgram'
import type { SeededRandom } from './seeded-random.js'

export interface UdpFaults {
  /** Probabilities, per datagram and direction. */
  readonly loss: number
  readonly duplication: number
  /** Held back, so that later ones overtake it. */
  readonly delay: number
  readonly delayMs: number
  /** A bit is flipped. Default: 0. */
  readonly damage?: number
}

export class UdpProxy {
  lost = 0
  doubled = 0
  delayed = 0
  damaged = 0
  private readonly far = new Map<number, Socket>()

  private constructor(
    private readonly near: Socket,
    private readonly targetPort: number,
    private readonly faults: UdpFaults,
    private readonly random: SeededRandom,
  ) {
    near.on('message', (datagram, { port }) => {
      this.pass(datagram, (bytes) => this.socketFor(port).send(bytes, this.targetPort, '127.0.0.1'))
    })
  }

  static async start(targetPort: number, faults: UdpFaults, random: SeededRandom): Promise<UdpProxy> {
    const near = createSocket('udp4')
    await new Promise<void>((resolve) => near.bind(0, '127.0.0.1', resolve))
    return new UdpProxy(near, targetPort, faults, random)
  }

  get port(): number {
    return this.near.address().port
  }

  /** From now on everybody comes from other ports, as when a NAT forgets. */
  forgetPorts(): void {
    for (const socket of this.far.values()) socket.close()
    this.far.clear()
  }

  close(): void {
    this.forgetPorts()
    this.near.close()
  }

  private socketFor(port: number): Socket {
    const known = this.far.get(port)
    if (known !== undefined) return known
    const socket = createSocket('udp4')
    socket.on('message', (datagram) => this.pass(datagram, (bytes) => this.near.send(bytes, port, '127.0.0.1')))
    socket.on('error', () => {})
    this.far.set(port, socket)
    return socket
  }

  private pass(datagram: Buffer, send: (bytes: Buffer) => void): void {
    const { loss, duplication, delay, delayMs, damage = 0 } = this.faults
    const bytes = this.random.chance(damage) ? this.flipped(datagram) : datagram
    const safely = (): void => {
      try {
        send(bytes)
      } catch {} // closed meanwhile
    }
    if (this.random.chance(loss)) {
      this.lost += 1
      return
    }
    if (this.random.chance(duplication)) {
      this.doubled += 1
      setTimeout(safely, this.random.below(delayMs)).unref()
    }
    if (this.random.chance(delay)) {
      this.delayed += 1
      setTimeout(safely, this.random.below(delayMs)).unref()
    } else safely()
  }

  private flipped(datagram: Buffer): Buffer {
    this.damaged += 1
    const bytes = Buffer.from(datagram)
    bytes[this.random.below(bytes.length)] ^= 1 << this.random.below(8)
    return bytes
  }
}

/** One that nobody has just now, and that a program can be told beforehand. */
export async function freeUdpPort(): Promise<number> {
  const socket = createSocket('udp4')
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve))
  const { port } = socket.address()
  await new Promise<void>((resolve) => socket.close(resolve))
  return port
}
