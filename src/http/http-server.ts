// The HTTP side of a node: listens, finds the route, answers. It knows no resource: those are in routes/. Whatever a client sends costs
// at most the limits below, and whatever goes wrong inside reaches it as a code and a sentence, never as a stack.

import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerOptions,
  type ServerResponse,
} from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { BrokenInvariant } from '../base/assert.js'
import { type Clock, systemClock } from '../base/clock.js'
import { messageOf, SluiceError } from '../base/errors.js'
import type { Logger } from '../base/logger.js'
import type { AccessTokens } from './access-tokens.js'
import { errorAnswer, refuseBrokenRequest } from './error-answers.js'
import { DEFAULT_HTTP_LIMITS, type HttpLimits } from './http-limits.js'
import { formatAddress, isLoopback, parseListenAddress } from './listen-address.js'
import { LongPolls } from './long-polls.js'
import { ReplyWriter } from './reply-writer.js'
import { parseQuery, Request } from './request.js'
import { guardAgainstWebPages } from './request-guard.js'
import { type HttpReply, type Route, scopeOf } from './route.js'
import { type Match, Router } from './router.js'
import { takeUpgrades } from './upgrades.js'

/** What a bridge in a process of its own asks to go on as. */
const UPGRADE_PROTOCOL = 'sluice-bridge'

export interface HttpServerOptions {
  /** HOST:PORT each, with https:// in front for TLS; port 0 takes a free one. */
  readonly listen: readonly string[]
  readonly routes: readonly Route[]
  readonly logger: Logger
  readonly limits?: Partial<HttpLimits>
  /** Without it whoever reaches an address may do everything. */
  readonly access?: Pick<AccessTokens, 'authorize'>
  /** PEM; needed for addresses with TLS. */
  readonly tls?: { readonly cert: Buffer; readonly key: Buffer }
  /** Names, beside its addresses and host name, by which clients reach this node, such as that of a proxy before it. */
  readonly allowedHosts?: readonly string[]
  readonly clock?: Clock
}

export interface HttpStats {
  readonly connections: number
  readonly waitingPolls: number
  /** Of answers that their clients have not taken yet. */
  readonly unsentBytes: number
  readonly requests: number
  /** Replies with a status of 500 or more. */
  readonly failures: number
}

export class HttpServer {
  /** Where it listens, as HOST:PORT, or https://HOST:PORT. */
  readonly addresses: readonly string[] = []
  private readonly servers: Server[] = []
  private readonly sockets = new Set<Socket>()
  private readonly upgraded = new Set<Duplex>()
  private readonly router: Router
  private readonly limits: HttpLimits
  private readonly polls: LongPolls
  private readonly replies: ReplyWriter
  private readonly logger: Logger
  private readonly allowedHosts: readonly string[]
  private requests = 0
  private failures = 0
  private stopping = false

  private constructor(private readonly options: HttpServerOptions) {
    this.router = new Router(options.routes)
    this.limits = { ...DEFAULT_HTTP_LIMITS, ...options.limits }
    this.polls = new LongPolls(this.limits.maxWaitingPolls, options.clock ?? systemClock)
    this.logger = options.logger
    this.replies = new ReplyWriter(this.limits.maxUnsentBytes, this.logger)
    this.allowedHosts = options.allowedHosts ?? []
  }

  /** @throws SluiceError ADDRESS_IN_USE, INVALID_CONFIG; nothing listens then. */
  static async start(options: HttpServerOptions): Promise<HttpServer> {
    const server = new HttpServer(options)
    try {
      for (const address of options.listen) await server.listen(address)
    } catch (error) {
      await server.stop()
      throw error
    }
    return server
  }

  stats(): HttpStats {
    const { requests, failures } = this
    const { unsentBytes } = this.replies
    return { connections: this.sockets.size, waitingPolls: this.polls.count, unsentBytes, requests, failures }
  }

  /** Answers the requests that wait, lets replies on their way finish (for `stopTimeoutMs`), then closes every connection. */
  async stop(): Promise<void> {
    if (this.stopping) return
    this.stopping = true
    const closed = this.servers.map((server) => new Promise<void>((resolve) => server.close(() => resolve())))
    this.polls.stop()
    for (const server of this.servers) server.closeIdleConnections()
    for (const other of this.upgraded) other.destroy()
    const force = setTimeout(() => {
      for (const socket of this.sockets) socket.destroy()
    }, this.limits.stopTimeoutMs)
    await Promise.all(closed)
    clearTimeout(force)
  }

  private async listen(address: string): Promise<void> {
    const { host, port, isTls } = parseListenAddress(address)
    const { limits } = this
    const server = this.createServer(isTls, {
      maxHeaderSize: limits.maxHeaderBytes,
      headersTimeout: limits.headersTimeoutMs,
      requestTimeout: limits.requestTimeoutMs,
      connectionsCheckingInterval: Math.min(5_000, limits.headersTimeoutMs),
      keepAliveTimeout: limits.idleTimeoutMs,
      noDelay: true,
    })
    server.maxConnections = limits.maxConnections
    server.setTimeout(limits.idleTimeoutMs, (socket) => socket.destroy())
    server.on('connection', (socket) => {
      this.sockets.add(socket)
      socket.once('close', () => this.sockets.delete(socket))
    })
    server.on('drop', () => this.logger.warn('connection refused: too many', { maximum: limits.maxConnections }))
    takeUpgrades(server, UPGRADE_PROTOCOL, isTls ? 'secureConnection' : 'connection', {
      open: (message) => this.upgrade(message),
      errorReply: (error, message) => this.errorReply(error, message),
    })
    server.on('clientError', (error: NodeJS.ErrnoException, socket) => refuseBrokenRequest(error, socket as Socket))
    await new Promise<void>((resolve, reject) => {
      server.once('error', (error: NodeJS.ErrnoException) => reject(listenError(error, address)))
      server.listen(port, host, resolve)
    })
    this.servers.push(server)
    const bound = server.address() as AddressInfo
    const where = formatAddress(bound.address, bound.port)
    ;(this.addresses as string[]).push(isTls ? `https://${where}` : where)
  }

  private createServer(isTls: boolean, options: ServerOptions): Server {
    const listener: RequestListener = (message, response) => void this.serve(message, response)
    if (!isTls) return createServer(options, listener)
    const { tls } = this.options
    if (tls === undefined)
      throw new SluiceError('INVALID_CONFIG', 'https:// needs a certificate: set cert_file and key_file')
    try {
      const server = createTlsServer(
        { ...options, ...tls, minVersion: 'TLSv1.2', handshakeTimeout: this.limits.headersTimeoutMs },
        listener,
      )
      server.on('tlsClientError', (_error, socket) => socket.destroy())
      return server
    } catch (error) {
      throw new SluiceError(
        'INVALID_CONFIG',
        `the certificate of [http] cannot be used: ${messageOf(error)}`,
        {},
        error,
      )
    }
  }

  private async serve(message: IncomingMessage, response: ServerResponse): Promise<void> {
    this.requests += 1
    response.on('error', () => {})
    let reply: HttpReply
    try {
      reply = await this.handle(message, response)
    } catch (error) {
      if (error instanceof BrokenInvariant) throw error
      if (response.destroyed) return
      reply = this.errorReply(error, message)
    }
    if (response.destroyed) return
    if ((reply.status ?? 200) >= 500) this.failures += 1
    const { 'content-length': length, 'transfer-encoding': coding } = message.headers
    const unread = !message.complete && (length !== undefined || coding !== undefined)
    const close = this.stopping || unread
    await this.replies.write(response, reply, close)
  }

  private async handle(message: IncomingMessage, response: ServerResponse): Promise<HttpReply> {
    const { match, search } = this.find(message)
    const { route } = match
    const isBounded = scopeOf(route) !== 'none'
    if (isBounded) this.replies.checkRoom()
    const reply = await route.handle(new Request(message, response, match, search, this.limits, this.polls))
    // Once more, now that there is an answer, where it can be asked for again.
    if (isBounded && route.method === 'GET') this.replies.checkRoom()
    return reply
  }

  private upgrade(message: IncomingMessage): Duplex {
    const { match, search } = this.find(message)
    const { route, params } = match
    if (this.stopping) throw new SluiceError('SHUTTING_DOWN', 'this node is stopping')
    if (route.upgrade === undefined) throw new SluiceError('INVALID_REQUEST', 'this does not go on as a connection')
    const other = route.upgrade({ params, query: parseQuery(search, route.query ?? []) })
    this.upgraded.add(other)
    other.once('close', () => this.upgraded.delete(other))
    return other
  }

  /** @throws SluiceError for a request that nobody may send, or not this one. */
  private find(message: IncomingMessage): { readonly match: Match; readonly search: string } {
    guardAgainstWebPages(message, this.allowedHosts)
    const url = message.url ?? ''
    if (url.length > this.limits.maxUrlBytes)
      throw new SluiceError('INVALID_REQUEST', `the address is longer than ${this.limits.maxUrlBytes} bytes`, {
        max_url_bytes: this.limits.maxUrlBytes,
      })
    const question = url.indexOf('?')
    const path = question === -1 ? url : url.slice(0, question)
    const search = question === -1 ? '' : url.slice(question + 1)
    const method = message.method === 'HEAD' ? 'GET' : (message.method ?? '')
    const match = this.router.match(method, path)
    const scope = scopeOf(match.route)
    if (scope !== 'none') {
      const isLocal = isLoopback(message.socket.remoteAddress ?? '')
      this.options.access?.authorize(message.headers.authorization, isLocal, scope)
    }
    return { match, search }
  }

  private errorReply(error: unknown, message: IncomingMessage): HttpReply {
    if (!(error instanceof SluiceError)) {
      const stack = error instanceof Error ? error.stack : undefined
      this.logger.error('a request failed by a fault of ours', { method: message.method, url: message.url, stack })
      return errorAnswer(new SluiceError('INTERNAL', 'this request failed inside the node: see its log', {}))
    }
    if (error.httpStatus >= 500 && error.code !== 'SHUTTING_DOWN')
      this.logger.warn('a request failed', { url: message.url, code: error.code, message: error.message })
    return errorAnswer(error)
  }
}

function listenError(error: NodeJS.ErrnoException, address: string): SluiceError {
  if (error.code === 'EADDRINUSE')
    return new SluiceError(
      'ADDRESS_IN_USE',
      `HTTP address ${address} is taken by another program: stop it, or set [http] listen to another port`,
      { address },
      error,
    )
  const reason = error.code === 'EACCES' ? 'ports below 1024 need rights' : messageOf(error)
  return new SluiceError('INVALID_CONFIG', `cannot listen for HTTP on ${address}: ${reason}`, { address }, error)
}
