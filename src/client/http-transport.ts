// Requests to a node's HTTP interface, for the client and the commands. Built on node:http because fetch costs a small program more memory and
// start-up time than all the rest of it. Errors of the node come back as the SluiceError they left as.

import {
  Agent,
  request as httpRequest,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type RequestOptions,
} from 'node:http'
import { ERROR_CODES, type ErrorCode, SluiceError } from '../base/errors.js'

export const DEFAULT_URL = 'http://127.0.0.1:7883'
/** An answer larger than this is refused rather than gathered in memory. */
export const MAX_ANSWER_BYTES = 64 * 1024 * 1024
/** How long a node may take to begin its answer, on top of what a long poll waits. */
const ANSWER_TIMEOUT_MS = 30_000
const MAX_SOCKETS = 64

export interface TransportRequest {
  readonly method?: 'GET' | 'POST' | 'PUT' | 'DELETE'
  /** Added to the path; what is undefined is left out. */
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>>
  /** Sent as JSON. */
  readonly body?: unknown
  /** Media type asked for; default application/json. */
  readonly accept?: string
  /** How long the node was told to wait for data (long poll), milliseconds. */
  readonly waitMs?: number
  readonly signal?: AbortSignal
}

export interface TransportAnswer {
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
}

export interface TransportOptions {
  /** Default http://127.0.0.1:7883. */
  readonly url?: string
  readonly token?: string
  readonly maxAnswerBytes?: number
  /** Where a person looks when the address is wrong, for messages: `--url`. */
  readonly urlSetting?: string
}

export class HttpTransport {
  readonly url: string
  private readonly base: URL
  private readonly agent: Agent | undefined
  private readonly maxAnswerBytes: number

  /** @throws TypeError when `url` is not an http or https URL. */
  constructor(private readonly options: TransportOptions = {}) {
    this.url = options.url ?? DEFAULT_URL
    this.maxAnswerBytes = options.maxAnswerBytes ?? MAX_ANSWER_BYTES
    this.base = new URL(this.url.includes('://') ? this.url : `http://${this.url}`)
    if (this.base.protocol !== 'http:' && this.base.protocol !== 'https:')
      throw new TypeError(`not an http or https URL: ${this.url}`)
    // With TLS the default agent of node:https is used, which closes its connections when idle.
    this.agent = this.base.protocol === 'http:' ? new Agent({ keepAlive: true, maxSockets: MAX_SOCKETS }) : undefined
  }

  /** Sends a request and parses the answer, null where there is none. @throws SluiceError as the node sent it, or NOT_REACHABLE. */
  async json<T>(path: string, request: TransportRequest = {}): Promise<T> {
    const text = (await this.send(path, request)).body.toString('utf8')
    if (text === '') return null as T
    try {
      return JSON.parse(text) as T
    } catch (error) {
      throw this.notANode('its answer is not JSON', error)
    }
  }

  /** The answer as it came: for text, NDJSON and record batches. @throws like json. */
  async send(path: string, request: TransportRequest = {}): Promise<TransportAnswer> {
    const answer = await this.begin(path, request)
    const body = await this.readBody(answer)
    const status = answer.statusCode ?? 0
    if (status >= 200 && status < 300) return { headers: answer.headers, body }
    throw this.errorFrom(status, body)
  }

  /** Closes idle connections, so that the process can end by itself. */
  close(): void {
    this.agent?.destroy()
  }

  private async begin(path: string, request: TransportRequest): Promise<IncomingMessage> {
    const body = request.body === undefined ? undefined : Buffer.from(JSON.stringify(request.body))
    const { token } = this.options
    const options: RequestOptions = {
      method: request.method ?? 'GET',
      agent: this.agent,
      timeout: ANSWER_TIMEOUT_MS + (request.waitMs ?? 0),
      signal: request.signal,
      headers: {
        accept: request.accept ?? 'application/json',
        ...(body && { 'content-type': 'application/json', 'content-length': body.length }),
        ...(token !== undefined && { authorization: `Bearer ${token}` }),
      },
    }
    const url = this.urlOf(path, request.query)
    const start = url.protocol === 'https:' ? (await import('node:https')).request : httpRequest
    return new Promise((resolve, reject) => {
      const outgoing = start(url, options, resolve)
      outgoing.on('timeout', () => outgoing.destroy(new Error('it did not answer in time')))
      outgoing.on('error', (error) => reject(request.signal?.aborted ? error : this.notReachable(error)))
      outgoing.end(body)
    })
  }

  private urlOf(path: string, query: TransportRequest['query'] = {}): URL {
    const url = new URL(this.base)
    url.pathname = this.base.pathname.replace(/\/$/, '') + path
    for (const [name, value] of Object.entries(query)) if (value !== undefined) url.searchParams.set(name, `${value}`)
    return url
  }

  private async readBody(answer: IncomingMessage): Promise<Buffer> {
    const chunks: Buffer[] = []
    let bytes = 0
    try {
      for await (const chunk of answer as AsyncIterable<Buffer>) {
        bytes += chunk.length
        if (bytes > this.maxAnswerBytes) throw this.notANode(`its answer is larger than ${this.maxAnswerBytes} bytes`)
        chunks.push(chunk)
      }
    } catch (error) {
      if (error instanceof SluiceError || (error instanceof Error && error.name === 'AbortError')) throw error
      throw this.notReachable(error as Error)
    }
    return chunks.length === 1 ? chunks[0] : Buffer.concat(chunks, bytes)
  }

  private errorFrom(status: number, body: Buffer): SluiceError {
    let sent: { error?: { code?: unknown; message?: unknown; details?: unknown } } | undefined
    try {
      sent = JSON.parse(body.toString('utf8'))
    } catch {
      // Said below: an answer without our error object did not come from a node.
    }
    const { code, message, details } = sent?.error ?? {}
    if (typeof code !== 'string' || typeof message !== 'string')
      return this.notANode(`it answered with HTTP status ${status}`)
    const known: ErrorCode = Object.hasOwn(ERROR_CODES, code) ? (code as ErrorCode) : 'INTERNAL'
    return new SluiceError(known, message, { ...(details as Record<string, unknown> | undefined), http_status: status })
  }

  private notANode(what: string, cause?: unknown): SluiceError {
    const message = `what answers at ${this.url} is not a Sluice node: ${what}; check ${this.options.urlSetting ?? 'the URL'}`
    return new SluiceError('INTERNAL', message, { url: this.url }, cause)
  }

  private notReachable(cause: Error & { code?: string }): SluiceError {
    const message =
      cause.code === 'ECONNREFUSED'
        ? `no node answers at ${this.url}; is it running? start one with: sluice serve`
        : `no node can be reached at ${this.url}: ${cause.message || cause.code}`
    return new SluiceError('NOT_REACHABLE', message, { url: this.url }, cause)
  }
}
