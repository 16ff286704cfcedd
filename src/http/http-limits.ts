// What the clients of a node's HTTP side can cost it at most. Used by the server; node-http.ts sets some of them from the configuration.

export interface HttpLimits {
  /** Open connections per address; past it a new one is closed at once. */
  readonly maxConnections: number
  /** Requests that wait as long polls at once. */
  readonly maxWaitingPolls: number
  readonly maxBodyBytes: number
  readonly maxUrlBytes: number
  /** All headers of a request together. */
  readonly maxHeaderBytes: number
  /** From the first byte of a request to the end of its headers. */
  readonly headersTimeoutMs: number
  /** From the first byte of a request to the end of its body. */
  readonly requestTimeoutMs: number
  /** A connection without a byte either way for so long is closed; longer than the longest poll. */
  readonly idleTimeoutMs: number
  /** Of all answers that wait for their clients to take them; past it requests are told to come back. */
  readonly maxUnsentBytes: number
  /** How long `stop` waits for replies on their way before it closes their connections. */
  readonly stopTimeoutMs: number
}

export const DEFAULT_HTTP_LIMITS: HttpLimits = {
  maxConnections: 2_048,
  maxWaitingPolls: 1_024,
  maxBodyBytes: 4 * 1024 * 1024,
  maxUrlBytes: 4_096,
  maxHeaderBytes: 16 * 1024,
  headersTimeoutMs: 10_000,
  requestTimeoutMs: 30_000,
  idleTimeoutMs: 75_000,
  maxUnsentBytes: 64 * 1024 * 1024,
  stopTimeoutMs: 2_000,
}
