// One HTTP request as handlers see it, over Node's own. Bodies are read on demand and never past the limit.

import type { IncomingMessage, ServerResponse } from 'node:http'
import { messageOf, SluiceError } from '../base/errors.js'
import type { LongPolls } from './long-polls.js'
import { quote } from './parameters.js'
import type { HttpRequest, Wait } from './route.js'
import type { Match } from './router.js'

export class Request implements HttpRequest {
  readonly params: Readonly<Record<string, string>>
  readonly query: ReadonlyMap<string, string>

  constructor(
    private readonly message: IncomingMessage,
    private readonly response: ServerResponse,
    match: Match,
    search: string,
    private readonly limits: { readonly maxBodyBytes: number },
    private readonly polls: LongPolls,
  ) {
    this.params = match.params
    this.query = parseQuery(search, match.route.query ?? [])
  }

  get gone(): boolean {
    return this.response.destroyed || this.message.socket.destroyed
  }

  get stopping(): boolean {
    return this.polls.isStopped
  }

  header(name: string): string | undefined {
    const value = this.message.headers[name]
    return Array.isArray(value) ? value.join(', ') : value
  }

  async body(): Promise<Buffer> {
    const { maxBodyBytes } = this.limits
    const encoding = this.header('content-encoding')
    if (encoding !== undefined && encoding !== 'identity')
      throw new SluiceError(
        'UNSUPPORTED_MEDIA_TYPE',
        `content-encoding ${quote(encoding)} is not understood: send it plain`,
      )
    const tooLarge = () =>
      new SluiceError('RECORD_TOO_LARGE', `the body is larger than ${maxBodyBytes} bytes: send less at once`, {
        max_body_bytes: maxBodyBytes,
      })
    if (Number(this.header('content-length') ?? 0) > maxBodyBytes) throw tooLarge()
    return new Promise((resolve, reject) => {
      const { message } = this
      const chunks: Buffer[] = []
      let bytes = 0
      const take = (chunk: Buffer) => {
        bytes += chunk.length
        if (bytes <= maxBodyBytes) return void chunks.push(chunk)
        // Left unread rather than destroyed: the reply still has to go out over this socket.
        message.pause().off('data', take)
        reject(tooLarge())
      }
      message.on('data', take)
      message.once('end', () => resolve(chunks.length === 1 ? chunks[0] : Buffer.concat(chunks, bytes)))
      message.once('close', () => {
        // It comes after every request; an error takes a look at the stack when it is made.
        if (!message.complete) reject(new SluiceError('NOT_REACHABLE', 'the client hung up before its body was whole'))
      })
    })
  }

  async json(): Promise<unknown> {
    const type = this.header('content-type')?.split(';')[0].trim().toLowerCase()
    // curl -d says so unless told otherwise, and nothing here takes forms.
    const isJson = type === undefined || type === 'application/json' || type === 'application/x-www-form-urlencoded'
    if (!isJson)
      throw new SluiceError(
        'UNSUPPORTED_MEDIA_TYPE',
        `content-type ${quote(type)} is not understood: send application/json`,
      )
    const body = await this.body()
    try {
      return body.length === 0 ? {} : JSON.parse(body.toString('utf8'))
    } catch (error) {
      throw new SluiceError('INVALID_REQUEST', `the body is not JSON: ${messageOf(error)}`)
    }
  }

  async wait(wait: Wait): Promise<void> {
    if (this.gone) return
    await this.polls.wait(wait, (callback) => {
      this.response.once('close', callback)
      return () => this.response.removeListener('close', callback)
    })
  }
}

/** @throws SluiceError INVALID_REQUEST for one that is not `known`. */
export function parseQuery(search: string, known: readonly string[]): Map<string, string> {
  const query = new Map<string, string>()
  if (search === '') return query
  for (const [name, value] of new URLSearchParams(search)) {
    if (!known.includes(name)) {
      const takes = known.length === 0 ? 'takes no parameters' : `takes ${known.join(', ')}`
      throw new SluiceError('INVALID_REQUEST', `unknown parameter ${quote(name)}: this address ${takes}`, {
        parameter: name,
        known,
      })
    }
    if (query.has(name))
      throw new SluiceError('INVALID_REQUEST', `parameter ${name} is given twice`, { parameter: name })
    query.set(name, value)
  }
  return query
}
