// The link between gateway and cloud: a TCP proxy that can be cut. While it is cut, connections end at once, like those to a modem without signal.

import { connect, createServer, type Server, type Socket } from 'node:net'

export class Uplink {
  private readonly sockets = new Set<Socket>()
  private readonly server: Server
  private up = true
  port = 0

  private constructor(cloudPort: number) {
    this.server = createServer((near) => {
      this.keep(near)
      if (!this.up) {
        near.destroy()
        return
      }
      const far = connect({ port: cloudPort, host: '127.0.0.1' })
      this.keep(far)
      near.pipe(far).pipe(near)
      near.on('close', () => far.destroy())
      far.on('close', () => near.destroy())
    })
  }

  static open(cloudPort: number): Promise<Uplink> {
    const uplink = new Uplink(cloudPort)
    return new Promise((resolve, reject) => {
      uplink.server.on('error', reject)
      uplink.server.listen(0, '127.0.0.1', () => {
        const address = uplink.server.address()
        if (typeof address === 'object' && address !== null) uplink.port = address.port
        resolve(uplink)
      })
    })
  }

  cut(): void {
    this.up = false
    for (const socket of this.sockets) socket.destroy()
  }

  restore(): void {
    this.up = true
  }

  close(): void {
    this.cut()
    this.server.close()
  }

  private keep(socket: Socket): void {
    this.sockets.add(socket)
    socket.on('error', () => {}) // either end may go away at any time; that is what this is for
    socket.on('close', () => this.sockets.delete(socket))
  }
}
