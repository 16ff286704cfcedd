// A TCP proxy that makes a bad link: cuts (also within a packet), swallows everything while staying connected, throttles, delays, closes
// one half, refuses. Faults apply to all connections, open and to come, until they are lifted.

import { connect, createServer, type Server, type Socket } from 'node:net'

type Direction = 'up' | 'down'

export class TcpProxy {
  /** Bytes that passed from clients to the target, and back. */
  readonly bytes: Record<Direction, number> = { up: 0, down: 0 }
  /** Connections accepted so far. */
  accepted = 0
  private readonly pipes = new Set<Pipe>()
  private readonly listeners = new Set<() => void>()
  private refusing = false
  private swallowing = false
  private delayMs = 0
  private bytesPerSecond: number | null = null
  private cut: { direction: Direction; bytesLeft: number } | null = null

  private constructor(
    private readonly server: Server,
    public targetPort: number,
  ) {
    server.on('connection', (client) => this.accept(client))
  }

  static start(targetPort: number): Promise<TcpProxy> {
    const server = createServer({ allowHalfOpen: true, noDelay: true })
    return new Promise((resolve, reject) => {
      server.once('error', reject)
      server.listen(0, '127.0.0.1', () => resolve(new TcpProxy(server, targetPort)))
    })
  }

  get port(): number {
    const address = this.server.address()
    return typeof address === 'object' && address !== null ? address.port : 0
  }

  /** Open connections. */
  get open(): number {
    return this.pipes.size / 2
  }

  /** Breaks every open connection with a reset; new ones are accepted. */
  cutAll(): void {
    for (const pipe of this.pipes) pipe.destroy()
  }

  /** Lets so many more bytes pass in a direction, then breaks that connection: in the midst of a packet, if need be. */
  cutAfter(bytes: number, direction: Direction = 'up'): void {
    this.cut = { direction, bytesLeft: bytes }
  }

  /** Connected, and nothing moves any more, either way, until it is lifted. */
  blackHole(on: boolean): void {
    this.swallowing = on
    this.changed()
  }

  /** No more than so many bytes per second each way and connection; null lifts it. */
  throttle(bytesPerSecond: number | null): void {
    this.bytesPerSecond = bytesPerSecond
  }

  /** Everything arrives so much later, each way. */
  delay(delayMs: number): void {
    this.delayMs = delayMs
  }

  /** Tells the targets that no more will come, and goes on passing what they send. */
  halfClose(): void {
    for (const pipe of this.pipes) if (pipe.direction === 'up') pipe.to.end()
  }

  /** Breaks all connections and every new one at once, until it is lifted. */
  refuse(on: boolean): void {
    this.refusing = on
    if (on) this.cutAll()
  }

  /** Resolves once `condition` holds; asked whenever bytes have passed or a connection came or went. */
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>((resolve) => this.listeners.add(resolve))
  }

  async stop(): Promise<void> {
    this.blackHole(false)
    this.cutAll()
    await new Promise((resolve) => this.server.close(resolve))
  }

  private accept(client: Socket): void {
    client.on('error', () => {})
    if (this.refusing) {
      breakOff(client)
      return
    }
    this.accepted += 1
    const target = connect({ port: this.targetPort, host: '127.0.0.1', allowHalfOpen: true, noDelay: true })
    target.on('error', () => {})
    for (const [direction, from, to] of [
      ['up', client, target],
      ['down', target, client],
    ] as const) {
      const pipe = new Pipe(direction, from, to, (chunk) => this.pass(chunk, pipe))
      this.pipes.add(pipe)
      from.on('close', () => {
        this.pipes.delete(pipe)
        to.destroy()
        this.changed()
      })
    }
    this.changed()
  }

  /** Resolves when the next chunk may come. */
  private async pass(chunk: Buffer, pipe: Pipe): Promise<void> {
    while (this.swallowing) await new Promise<void>((resolve) => this.listeners.add(resolve))
    const cut = this.cut?.direction === pipe.direction ? this.cut : null
    const allowed = cut === null ? chunk : chunk.subarray(0, cut.bytesLeft)
    this.bytes[pipe.direction] += allowed.length
    const ends = cut !== null && (cut.bytesLeft -= allowed.length) === 0
    if (ends) this.cut = null
    pipe.write(allowed, this.delayMs, ends)
    this.changed()
    if (this.bytesPerSecond !== null) await sleep((allowed.length / this.bytesPerSecond) * 1000)
    await pipe.drained()
  }

  private changed(): void {
    const waiting = [...this.listeners]
    this.listeners.clear()
    for (const listener of waiting) listener()
  }
}

class Pipe {
  private dueAtMs = 0
  /** In order; a timer runs for the first of them. */
  private readonly waiting: { readonly dueAtMs: number; readonly action: () => void }[] = []

  constructor(
    readonly direction: Direction,
    readonly from: Socket,
    readonly to: Socket,
    pass: (chunk: Buffer) => Promise<void>,
  ) {
    from.on('data', (chunk: Buffer) => {
      from.pause()
      void pass(chunk).then(() => from.resume())
    })
    from.on('end', () => this.later(this.dueAtMs - performance.now(), () => to.end()))
  }

  write(bytes: Buffer, delayMs: number, thenBreak: boolean): void {
    this.later(delayMs, () => {
      if (!this.to.destroyed) this.to.write(bytes, () => (thenBreak ? this.destroy() : undefined))
    })
  }

  async drained(): Promise<void> {
    if (!this.to.writableNeedDrain || this.to.destroyed) return
    await new Promise<void>((resolve) => {
      const done = (): void => {
        this.to.off('drain', done).off('close', done)
        resolve()
      }
      this.to.on('drain', done).on('close', done)
    })
  }

  destroy(): void {
    breakOff(this.from)
    breakOff(this.to)
  }

  /** Never before what was put off earlier, however late a timer is. */
  private later(delayMs: number, action: () => void): void {
    this.dueAtMs = Math.max(this.dueAtMs, performance.now() + delayMs)
    this.waiting.push({ dueAtMs: this.dueAtMs, action })
    if (this.waiting.length === 1) this.runDue()
  }

  private runDue(): void {
    for (let next = this.waiting[0]; next !== undefined; next = this.waiting[0]) {
      const leftMs = next.dueAtMs - performance.now()
      if (leftMs > 0) {
        setTimeout(() => this.runDue(), leftMs)
        return
      }
      this.waiting.shift()
      next.action()
    }
  }
}

/** With a reset; a socket that is being shut down cannot send one any more, and libuv would keep it for ever. */
function breakOff(socket: Socket): void {
  if (socket.writableEnded || socket.connecting) socket.destroy()
  else socket.resetAndDestroy()
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
