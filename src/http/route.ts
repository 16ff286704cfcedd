// What a resource under /v1 looks like to the server: a method, a path pattern and a function from request to reply. Every file in
// routes/ exports `xRoutes(deps): Route[]`; node.ts collects them. A handler throws SluiceError for whatever went wrong in its
// world; the server turns that into {error: {code, message, details}} with the fitting status.

import type { Duplex } from 'node:stream'
import type { Scope } from './access-tokens.js'

/** A request whose path and query have passed their checks; the body is read only when the handler asks for it. */
export interface HttpRequest {
  /** Values of the `{names}` in the pattern, decoded and valid by PARAMETER_RULES in parameters.ts. */
  readonly params: Readonly<Record<string, string>>
  /** Query parameters; every name is one of the route's `query`. */
  readonly query: ReadonlyMap<string, string>
  /** A header by its lower-case name. */
  header(name: string): string | undefined
  /** @throws SluiceError RECORD_TOO_LARGE past the server's `maxBodyBytes`. */
  body(): Promise<Buffer>
  /** The body as JSON. @throws SluiceError INVALID_REQUEST, RECORD_TOO_LARGE, UNSUPPORTED_MEDIA_TYPE. */
  json(): Promise<unknown>
  /** Waits as a long poll; see Wait. @throws SluiceError TOO_MANY_REQUESTS when too many requests wait already. */
  wait(wait: Wait): Promise<void>
  /** True once the client has hung up: nobody will read the reply. */
  readonly gone: boolean
  /** True once the server stops: answer with what there is. */
  readonly stopping: boolean
}

/** A long poll: ends when `ready` says so, after `waitMs`, when the client hangs up, or when the server stops. */
export interface Wait {
  /** Asked before the wait and after each wake-up. */
  ready(): boolean
  /** Calls `wake` whenever `ready` may have become true; the returned function ends that. */
  subscribe(wake: () => void): () => void
  readonly waitMs: number
}

export interface HttpReply {
  /** Default 200. */
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
  /** An iterable is asked for more only once the client has taken what came before; it ends when the client hangs up. */
  readonly body: string | Uint8Array | readonly Uint8Array[] | AsyncIterable<string | Uint8Array>
}

export type HttpMethod = 'GET' | 'POST' | 'PUT' | 'DELETE'

export interface Route {
  readonly method: HttpMethod
  /** What a token must be good for; `none` for what anybody may ask. Default: `read` for a GET, `admin` for anything else. */
  readonly scope?: Scope | 'none'
  /** Such as `/v1/streams/{stream}/partitions/{partition}/records`. The kind of a parameter is its name. */
  readonly pattern: string
  /** Names of the query parameters it understands; any other one is refused by name. Default: none. */
  readonly query?: readonly string[]
  handle(request: HttpRequest): HttpReply | Promise<HttpReply>
  /** For a GET that asks to go on as a connection: the other end of it. @throws SluiceError. */
  upgrade?(request: Pick<HttpRequest, 'params' | 'query'>): Duplex
}

export function scopeOf(route: Route): Scope | 'none' {
  return route.scope ?? (route.method === 'GET' ? 'read' : 'admin')
}

export function jsonReply(value: unknown, status = 200): HttpReply {
  return { status, headers: { 'content-type': 'application/json' }, body: `${JSON.stringify(value)}\n` }
}
