// A WebSocket as the stream of bytes a gate reads and writes. MQTT packets need not begin and end with messages [MQTT-6.0.0-2]; a message
// that is not binary closes the connection [MQTT-6.0.0-1].
//
// `ws` hands on whole messages only and does not tell what it keeps of others. So that is counted from outside: the bytes the socket has brought,
// less the frames that came of them. The headers of a message in fragments are counted too many, until the chunk that follows it.

import { Duplex } from 'node:stream'
import type { WebSocket } from 'ws'
import type { HoardingStream } from './read-memory.js'

const UNSUPPORTED_DATA = 1003
/** How long the other side may take to answer a close, milliseconds. */
const CLOSE_TIMEOUT_MS = 1000
/** What a chunk costs besides its bytes while it is kept: two objects and what the allocator adds. */
const CHUNK_OVERHEAD_BYTES = 256

export class WebSocketStream extends Duplex implements HoardingStream {
  onHeld: () => void = () => {}
  /** Bytes brought and of no frame that has ended; below zero while the chunk that ended one is being handed on. */
  private open = 0
  private openChunks = 0
  private messageEnded = false

  /** @param socket What the WebSocket reads. */
  constructor(
    private readonly webSocket: WebSocket,
    socket: Duplex,
  ) {
    super({ readableHighWaterMark: 64 * 1024, autoDestroy: true })
    webSocket.on('message', (data, isBinary) => this.receive(data as Buffer, isBinary))
    webSocket.on('ping', (data) => this.frameEnded(data.length))
    webSocket.on('pong', (data) => this.frameEnded(data.length))
    // The listener of `ws` was there first: what the chunk has ended has come already.
    socket.on('data', (chunk: Buffer) => this.chunkEnded(chunk.length))
    webSocket.on('error', (error) => this.destroy(error))
    webSocket.on('close', () => {
      this.push(null)
      this.destroy()
    })
  }

  get unfinishedBytes(): number {
    return Math.max(0, this.open)
  }
  get heldBytes(): number {
    return this.unfinishedBytes + this.openChunks * CHUNK_OVERHEAD_BYTES + this.readableLength
  }

  private receive(data: Buffer, isBinary: boolean): void {
    this.messageEnded = true
    this.frameEnded(data.length)
    if (!isBinary) {
      this.webSocket.close(UNSUPPORTED_DATA, 'MQTT is binary')
      this.destroy(new Error('sent a WebSocket message that is not binary'))
    } else if (!this.push(data)) this.webSocket.pause()
  }

  private frameEnded(payloadBytes: number): void {
    this.open -= headerBytes(payloadBytes) + payloadBytes
  }

  private chunkEnded(bytes: number): void {
    this.open += bytes
    if (this.messageEnded) {
      this.messageEnded = false
      this.openChunks = 0
      this.open = Math.min(this.open, bytes)
    }
    if (this.open > 0) this.openChunks += 1
    this.onHeld()
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

/** Of a frame from a client, which is masked; RFC 6455 section 5.2. */
function headerBytes(payloadBytes: number): number {
  return payloadBytes < 126 ? 6 : payloadBytes < 65_536 ? 8 : 14
}
