// A WebSocket as the stream of bytes a gate reads and writes. MQTT packets need not begin and end with messages [MQTT-6.0.0-2]; a message
// that is not binary closes the connection [MQTT-6.0.0-1].

import { Duplex } from 'node:stream'
import type { RawData, WebSocket } from 'ws'

const UNSUPPORTED_DATA = 1003
/** How long the other side may take to answer a close, milliseconds. */
const CLOSE_TIMEOUT_MS = 1000

export class WebSocketStream extends Duplex {
  constructor(private readonly webSocket: WebSocket) {
    super({ readableHighWaterMark: 64 * 1024, autoDestroy: true })
    webSocket.on('message', (data, isBinary) => this.receive(data, isBinary))
    webSocket.on('error', (error) => this.destroy(error))
    webSocket.on('close', () => {
      this.push(null)
      this.destroy()
    })
  }

  private receive(data: RawData, isBinary: boolean): void {
    if (!isBinary) {
      this.webSocket.close(UNSUPPORTED_DATA, 'MQTT is binary')
      this.destroy(new Error('sent a WebSocket message that is not binary'))
    } else if (!this.push(data)) this.webSocket.pause()
  }

  override _read(): void {
    this.webSocket.resume()
  }

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error | null) => void): void {
    if (this.webSocket.readyState === this.webSocket.OPEN) this.webSocket.send(chunk, done)
    else done()
  }

  /** What has gathered is one message. */
  override _writev(chunks: { chunk: Buffer }[], done: (error?: Error | null) => void): void {
    this._write(Buffer.concat(chunks.map(({ chunk }) => chunk)), '', done)
  }

  override _final(done: () => void): void {
    this.webSocket.close()
    done()
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    const { webSocket } = this
    if (webSocket.readyState === webSocket.CLOSING) setTimeout(() => webSocket.terminate(), CLOSE_TIMEOUT_MS).unref()
    else webSocket.terminate()
    done(error)
  }
}
