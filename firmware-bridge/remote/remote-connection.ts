// An MQTT connection to a node elsewhere that can be written to before it is made; ends when it cannot be.

import type { Socket } from 'node:net'
import { Duplex } from 'node:stream'
import type { BridgeConnection } from '../devices/bridge-node.js'
import type { NodeApi } from './node-api.js'

export class RemoteConnection extends Duplex implements BridgeConnection {
  private socket: Socket | null = null
  private onSocket: (socket: Socket) => void = () => {}

  constructor(api: Pick<NodeApi, 'dial'>, query: string) {
    super()
    api
      .dial(query, () => !this.destroyed)
      .then(
        (made) => made !== null && this.made(made.socket, made.head),
        (error) => this.destroy(error),
      )
  }

  private made(socket: Socket, head: Buffer): void {
    if (this.destroyed) {
      socket.destroy()
      return
    }
    this.socket = socket
    if (head.length > 0) this.push(head)
    socket.on('data', (chunk: Buffer) => {
      if (!this.push(chunk)) socket.pause()
    })
    socket.on('error', () => {})
    socket.once('close', () => this.destroy())
    this.onSocket(socket)
  }

  override _read(): void {
    this.socket?.resume()
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    if (this.socket === null) this.onSocket = (socket) => socket.write(chunk, done)
    else this.socket.write(chunk, done)
  }

  override _final(done: () => void): void {
    this.socket?.end()
    done()
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.socket?.destroy()
    done(error)
  }
}
