// Stands between an MQTT client and a broker, passes everything on, and shows each packet as it passes: for tests that count what was said and not what
// became of it.

import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'

export interface TappedPacket {
  readonly direction: 'up' | 'down'
  /** The control packet type, as in the upper half of the first byte [MQTT-2.2.1]. */
  readonly type: number
  /** Behind the remaining length. */
  readonly body: Buffer
  /** The same for all packets of one connection. */
  readonly connection: object
}

export class PacketTap {
  private readonly sockets = new Set<Socket>()

  private constructor(private readonly server: Server) {}

  static async start(targetPort: number, onPacket: (packet: TappedPacket) => void): Promise<PacketTap> {
    const server = createServer({ noDelay: true })
    const tap = new PacketTap(server)
    server.on('connection', (client) => {
      const target = connect({ port: targetPort, host: '127.0.0.1', noDelay: true })
      for (const [from, to, direction] of [
        [client, target, 'up'],
        [target, client, 'down'],
      ] as const) {
        tap.sockets.add(from)
        const connection = client
        const show = packetReader((type, body) => onPacket({ direction, type, body, connection }))
        from.on('error', () => {})
        from.on('data', show)
        from.on('close', () => {
          tap.sockets.delete(from)
          to.destroy()
        })
        from.pipe(to)
      }
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return tap
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port
  }

  stop(): Promise<unknown> {
    for (const socket of this.sockets) socket.destroy()
    return new Promise((resolve) => this.server.close(resolve))
  }
}

function packetReader(onPacket: (type: number, body: Buffer) => void): (bytes: Buffer) => void {
  let rest: Buffer = Buffer.alloc(0)
  return (bytes) => {
    rest = Buffer.concat([rest, bytes])
    for (;;) {
      let [length, at, known] = [0, 1, false]
      for (let shift = 1; at < rest.length && !known; shift *= 128) {
        length += (rest[at] & 0x7f) * shift
        known = rest[at++] < 0x80
      }
      if (!known || at + length > rest.length) return
      onPacket(rest[0] >> 4, Buffer.from(rest.subarray(at, at + length)))
      rest = rest.subarray(at + length)
    }
  }
}
