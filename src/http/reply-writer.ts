// Replies on their way to clients. An endless one is never more than a chunk ahead of its client; any other is held whole until its client has
// taken it, so all of those together have a maximum: many clients that ask for much and read nothing must not cost the node its memory.

import type { ServerResponse } from 'node:http'
import { BrokenInvariant } from '../base/assert.js'
import { messageOf, SluiceError } from '../base/errors.js'
import type { Logger } from '../base/logger.js'
import type { HttpReply } from './route.js'

export class ReplyWriter {
  private unsent = 0

  /** @param maxUnsentBytes Of all replies that are held. */
  constructor(
    private readonly maxUnsentBytes: number,
    private readonly logger: Logger,
  ) {}

  get unsentBytes(): number {
    return this.unsent
  }

  /** @throws SluiceError TOO_MANY_REQUESTS while clients leave too much where it is. */
  checkRoom(): void {
    if (this.unsent < this.maxUnsentBytes) return
    throw new SluiceError(
      'TOO_MANY_REQUESTS',
      `answers of ${this.unsent} bytes wait for clients that do not read them: ask again later, or for less at once (max_bytes)`,
      { unsent_bytes: this.unsent, max_unsent_bytes: this.maxUnsentBytes },
    )
  }

  /** @param close Whether the connection ends with this reply. Resolves once an endless reply has ended; another may still be on its way. */
  async write(response: ServerResponse, reply: HttpReply, close: boolean): Promise<void> {
    const { body } = reply
    if (typeof body === 'object' && Symbol.asyncIterator in body) await this.stream(response, reply, body, close)
    else this.send(response, reply, body, close)
  }

  /** A client that reads nothing for the idle time-out is cut off like any other. */
  private async stream(
    response: ServerResponse,
    reply: HttpReply,
    body: AsyncIterable<string | Uint8Array>,
    close: boolean,
  ): Promise<void> {
    response.writeHead(reply.status ?? 200, headersOf(reply, close))
    if (response.req.method === 'HEAD') return void response.end()
    // The first record may be long in coming, and until then the client should know that it is connected.
    response.flushHeaders()
    try {
      for await (const chunk of body) {
        if (response.destroyed) return
        if (!response.write(chunk)) await drained(response)
      }
      response.end()
    } catch (error) {
      if (error instanceof BrokenInvariant) throw error
      // The status has gone out: an answer that is cut short is the only way left to say it.
      this.logger.warn('a streamed answer was cut short', { reason: messageOf(error) })
      response.destroy()
    }
  }

  private send(
    response: ServerResponse,
    reply: HttpReply,
    body: string | Uint8Array | readonly Uint8Array[],
    close: boolean,
  ): void {
    const parts = typeof body === 'string' ? [Buffer.from(body)] : body instanceof Uint8Array ? [body] : body
    let bytes = 0
    for (const part of parts) bytes += part.length
    response.writeHead(reply.status ?? 200, { 'content-length': bytes, ...headersOf(reply, close) })
    this.unsent += bytes
    // Comes when the last byte has left, or with the end of the connection.
    response.once('close', () => {
      this.unsent -= bytes
    })
    response.cork()
    for (const part of parts) response.write(part)
    response.end()
    response.uncork()
  }
}

function headersOf(reply: HttpReply, close: boolean): Record<string, string | number> {
  return {
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    ...reply.headers,
    // A body that was not read to its end would be taken for the next request.
    ...(close && { connection: 'close' }),
  }
}

/** Resolves when the client has taken what was written, or has gone. */
function drained(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const settle = (): void => {
      response.off('drain', settle).off('close', settle)
      resolve()
    }
    response.on('drain', settle).on('close', settle)
  })
}
