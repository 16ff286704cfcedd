// Requests to a node elsewhere: one try each, with a time limit. Notices when the node goes and comes back, and says so once. A request that is given
// up is reset rather than closed, so that no byte of it reaches the node later.

import { randomUUID } from 'node:crypto'
import { Agent as HttpAgent, request as httpRequest, type IncomingMessage, type RequestOptions } from 'node:http'
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https'
import type { Socket } from 'node:net'
import { ERROR_CODES, type ErrorCode, type Logger, SluiceError } from '../../src/index.js'

const ANSWER_TIMEOUT_MS = 30_000
const MAX_ANSWER_BYTES = 8 * 1024 * 1024
const MAX_SOCKETS = 8
/** Connections that are being made at a time, inclusive: a thousand devices must not storm a node that comes back. */
const MAX_DIALS = 16
const UPGRADE = 'sluice-bridge'
const KEEPALIVE_MS = 30_000

export interface NodeApiOptions {
  /** As in https://site.example:7883. */
  readonly url: string
  /** What the bridge is called at the node. */
  readonly name: string
  readonly token?: string
  /** PEM: whom to trust, instead of those the system does. */
  readonly ca?: string
  readonly logger: Logger
  /** Default: 30 s. */
  readonly answerTimeoutMs?: number
}

export interface Upgraded {
  readonly socket: Socket
  readonly head: Buffer
}

export class NodeApi {
  private readonly base: URL
  private readonly agent: HttpAgent
  private readonly dials: (() => void)[] = []
  private dialing = 0
  /** Tells this process from another that has the same name. */
  private readonly run = randomUUID()
  private away = false
  private whenBack: (() => void)[] = []
  /** Another process has the name of this bridge: nothing more will be taken from this one. */
  readonly fenced: Promise<SluiceError>
  superseded: (error: SluiceError) => void = () => {}

  /** @throws SluiceError INVALID_CONFIG for what is no http or https URL. */
  constructor(private readonly options: NodeApiOptions) {
    const { url, ca } = options
    if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol))
      throw new SluiceError('INVALID_CONFIG', `${JSON.stringify(url)} is not an http or https URL of a node`)
    this.base = new URL(url)
    this.fenced = new Promise((resolve) => {
      this.superseded = resolve
    })
    const keep = { keepAlive: true, maxSockets: MAX_SOCKETS }
    this.agent = this.base.protocol === 'https:' ? new HttpsAgent({ ...keep, ca }) : new HttpAgent(keep)
  }

  /** @returns the answer's JSON. @throws SluiceError as the node sent it; NOT_REACHABLE. */
  async call<T>(method: 'GET' | 'POST', path: string, body?: unknown): Promise<T> {
    const timeoutMs = this.options.answerTimeoutMs ?? ANSWER_TIMEOUT_MS
    try {
      const { status, text } = await this.send(method, path, body, timeoutMs)
      const answer = parsed(text)
      if (status >= 200 && status < 300 && answer !== null) {
        this.isBack()
        return answer as T
      }
      throw errorOf(status, answer)
    } catch (error) {
      const why = error instanceof SluiceError ? error : notReachable(error as Error)
      // What this request alone did wrong says nothing of the node.
      if (why.code === 'FENCED_INSTANCE_ID') this.superseded(why)
      else if (!['RECORD_TOO_LARGE', 'INVALID_REQUEST', 'OUT_OF_ORDER_SEQUENCE'].includes(why.code)) this.isGone(why)
      throw why
    }
  }

  /** A connection that holds the name of this bridge. @throws SluiceError FENCED_INSTANCE_ID, or as the node sent it; NOT_REACHABLE. */
  async lease(): Promise<Upgraded> {
    try {
      const made = await this.upgrade('/lease')
      this.isBack()
      return made
    } catch (error) {
      const why = error instanceof SluiceError ? error : notReachable(error as Error)
      if (why.code !== 'FENCED_INSTANCE_ID') this.isGone(why)
      throw why
    }
  }

  /**
   * An upgraded MQTT connection, once there is room to make one.
   * @param wanted Asked when its turn has come.
   * @returns null when it is not wanted any more. @throws Error when the node does not make it.
   */
  async dial(query: string, wanted: () => boolean): Promise<Upgraded | null> {
    // A thousand devices must not knock at a node that is away.
    if (this.away) await new Promise<void>((resolve) => this.whenBack.push(resolve))
    if (this.dialing >= MAX_DIALS) await new Promise<void>((resolve) => this.dials.push(resolve))
    this.dialing += 1
    try {
      return wanted() ? await this.upgrade(`/mqtt${query}`) : null
    } finally {
      this.dialing -= 1
      this.dials.shift()?.()
    }
  }

  close(): void {
    this.agent.destroy()
    for (const resolve of [...this.whenBack.splice(0), ...this.dials.splice(0)]) resolve()
  }

  private upgrade(path: string): Promise<Upgraded> {
    return new Promise((resolve, reject) => {
      const outgoing = this.begin('GET', path, { connection: 'Upgrade', upgrade: UPGRADE }, false)
      const timer = setTimeout(() => giveUp(outgoing, 'it did not answer in time'), ANSWER_TIMEOUT_MS)
      outgoing.once('close', () => clearTimeout(timer))
      outgoing.once('error', reject)
      outgoing.once('response', (response) => {
        textOf(response).then((text) => reject(errorOf(response.statusCode ?? 0, parsed(text))), reject)
      })
      outgoing.once('upgrade', (_response, socket: Socket, head: Buffer) => {
        clearTimeout(timer)
        socket.setKeepAlive(true, KEEPALIVE_MS)
        socket.setNoDelay(true)
        resolve({ socket, head })
      })
      outgoing.end()
    })
  }

  private send(
    method: string,
    path: string,
    body: unknown,
    timeoutMs: number,
  ): Promise<{ readonly status: number; readonly text: string }> {
    const bytes = body === undefined ? undefined : Buffer.from(JSON.stringify(body))
    return new Promise((resolve, reject) => {
      const headers = bytes && { 'content-type': 'application/json', 'content-length': bytes.length }
      const outgoing = this.begin(method, path, headers, true)
      const timer = setTimeout(() => giveUp(outgoing, 'it did not answer in time'), timeoutMs)
      outgoing.once('close', () => clearTimeout(timer))
      outgoing.once('error', reject)
      outgoing.once('response', (response) => {
        textOf(response).then((text) => resolve({ status: response.statusCode ?? 0, text }), reject)
      })
      outgoing.end(bytes)
    })
  }

  private begin(method: string, path: string, headers: RequestOptions['headers'], pooled: boolean) {
    const { name, token, ca } = this.options
    const url = new URL(this.base)
    const [pathname, search = ''] = path.split('?')
    url.pathname = `${this.base.pathname.replace(/\/$/, '')}/v1/bridges/${encodeURIComponent(name)}${pathname}`
    url.search = `run=${this.run}${search && `&${search}`}`
    const isTls = url.protocol === 'https:'
    return (isTls ? httpsRequest : httpRequest)(url, {
      method,
      agent: pooled ? this.agent : false,
      ...(isTls && { ca }),
      headers: { ...headers, ...(token !== undefined && { authorization: `Bearer ${token}` }) },
    })
  }

  private isGone(error: SluiceError): void {
    if (!this.away)
      this.options.logger.warn('the node does not answer as it should: devices are held back, trying on', {
        url: this.options.url,
        error,
      })
    this.away = true
  }

  private isBack(): void {
    if (this.away) this.options.logger.info('the node is there again', { url: this.options.url })
    this.away = false
    for (const resolve of this.whenBack.splice(0)) resolve()
  }
}

function giveUp(outgoing: ReturnType<typeof httpRequest>, why: string): void {
  const { socket } = outgoing
  // Over TLS there is no reset; the node's own order of requests is what is left.
  if (socket !== null && 'resetAndDestroy' in socket && !('encrypted' in socket)) socket.resetAndDestroy()
  outgoing.destroy(new Error(why))
}

async function textOf(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes > MAX_ANSWER_BYTES) throw new Error(`its answer has more than ${MAX_ANSWER_BYTES} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}

interface WireError {
  readonly code?: string
  readonly message?: string
  readonly details?: Readonly<Record<string, unknown>>
}

/** What is not a node's own error did not come from one. */
function errorOf(status: number, answer: unknown): SluiceError {
  const { code, message, details } = (answer as { error?: WireError } | null)?.error ?? {}
  if (code === undefined || message === undefined)
    return new SluiceError('NOT_REACHABLE', `what answers is not a node: HTTP status ${status}`)
  return errorCalled(code, message, details)
}

export function errorCalled(code: string, message: string, details: WireError['details'] = {}): SluiceError {
  return new SluiceError(Object.hasOwn(ERROR_CODES, code) ? (code as ErrorCode) : 'INTERNAL', message, details)
}

function notReachable(cause: Error & { code?: string }): SluiceError {
  return new SluiceError('NOT_REACHABLE', `no node can be reached: ${cause.message || cause.code}`, {}, cause)
}
