// Has all plain TCP connections read into one buffer. Node otherwise allocates 64 KB for each read, shrinks them to what came, and makes an
// ArrayBuffer, a Buffer and a 'data' event of it: with small messages that was a fifth of what a message cost. net.connect offers this as
// `onread`; for accepted sockets it is reached by the same fields, and where they are missing, 'data' events do. Used by the gate.

import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'

const SHARED_BYTES = 256 * 1024
const shared = Buffer.allocUnsafeSlow(SHARED_BYTES)

type Field = 'kBuffer' | 'kBufferCb'

interface Handle {
  useUserBuffer?(buffer: Uint8Array): void
}

/** Takes chunk[0, end). It is valid only during the call: the next read of any connection overwrites it. */
export type TakeChunk = (chunk: Buffer, end: number) => void

/** Calls `onChunk` with what the stream brings. @returns whether the shared buffer is in use. */
export function readChunks(stream: Duplex, onChunk: TakeChunk): boolean {
  // Exactly a socket: what TLS and WebSocket give has been read already by what is under them.
  if (stream.constructor === Socket && shareBuffer(stream as Socket, onChunk)) return true
  stream.on('data', (chunk: Buffer) => onChunk(chunk, chunk.length))
  return false
}

function shareBuffer(socket: Socket, onChunk: TakeChunk): boolean {
  const handle = (socket as unknown as { _handle: Handle | null })._handle
  const fields = new Map<string | undefined, symbol>()
  for (const symbol of Object.getOwnPropertySymbols(socket)) fields.set(symbol.description, symbol)
  const set = (name: Field, value: unknown): void => {
    ;(socket as unknown as Record<symbol, unknown>)[fields.get(name)!] = value
  }
  if (!fields.has('kBuffer') || !fields.has('kBufferCb') || handle?.useUserBuffer === undefined) return false
  if (socket.readableLength > 0) return false
  set('kBuffer', shared)
  set('kBufferCb', (length: number) => {
    onChunk(shared, length)
    return true
  })
  handle.useUserBuffer(shared)
  return true
}
