// The one catalogue of operating errors. A code is stable and may be relied upon by programs; a message is for people and
// may change. Kafka's name is used where Kafka has one. Misuse of an API throws TypeError or RangeError instead, and a
// broken invariant fails an assert: the three are never mixed.

/** What each code means for a caller: whether trying the same again later can succeed, and the HTTP status that fits. */
export const ERROR_CODES = {
  INVALID_REQUEST: { retriable: false, httpStatus: 400 },
  INVALID_CONFIG: { retriable: false, httpStatus: 400 },
  INVALID_TOPIC: { retriable: false, httpStatus: 400 },
  NOT_FOUND: { retriable: false, httpStatus: 404 },
  UNKNOWN_STREAM_OR_PARTITION: { retriable: false, httpStatus: 404 },
  GROUP_ID_NOT_FOUND: { retriable: false, httpStatus: 404 },
  UNKNOWN_MEMBER_ID: { retriable: false, httpStatus: 404 },
  UNKNOWN_UPSTREAM: { retriable: false, httpStatus: 404 },
  METHOD_NOT_ALLOWED: { retriable: false, httpStatus: 405 },
  ILLEGAL_GENERATION: { retriable: false, httpStatus: 409 },
  FENCED_EPOCH: { retriable: false, httpStatus: 409 },
  FENCED_INSTANCE_ID: { retriable: false, httpStatus: 409 },
  INCONSISTENT_GROUP_PROTOCOL: { retriable: false, httpStatus: 409 },
  NON_EMPTY_GROUP: { retriable: false, httpStatus: 409 },
  REBALANCE_IN_PROGRESS: { retriable: true, httpStatus: 409 },
  OUT_OF_ORDER_SEQUENCE: { retriable: false, httpStatus: 409 },
  OFFSET_OUT_OF_RANGE: { retriable: false, httpStatus: 416 },
  RECORD_TOO_LARGE: { retriable: false, httpStatus: 413 },
  UNSUPPORTED_MEDIA_TYPE: { retriable: false, httpStatus: 415 },
  UNAUTHORIZED: { retriable: false, httpStatus: 401 },
  FORBIDDEN: { retriable: false, httpStatus: 403 },
  TOO_MANY_REQUESTS: { retriable: true, httpStatus: 429 },
  STORAGE_FULL: { retriable: true, httpStatus: 507 },
  STORAGE_READ_ONLY: { retriable: true, httpStatus: 503 },
  STORAGE_FAILED: { retriable: false, httpStatus: 500 },
  CORRUPT_MESSAGE: { retriable: false, httpStatus: 500 },
  DATA_DIR_LOCKED: { retriable: true, httpStatus: 503 },
  DATA_DIR_TOO_NEW: { retriable: false, httpStatus: 500 },
  DATA_DIR_TOO_OLD: { retriable: false, httpStatus: 500 },
  ADDRESS_IN_USE: { retriable: true, httpStatus: 503 },
  NOT_REACHABLE: { retriable: true, httpStatus: 503 },
  SHUTTING_DOWN: { retriable: true, httpStatus: 503 },
  INTERNAL: { retriable: false, httpStatus: 500 },
} as const

export type ErrorCode = keyof typeof ERROR_CODES

/** An operating error: something outside this program's control went wrong, and `code` says what. */
export class SluiceError extends Error {
  override readonly name = 'SluiceError'
  readonly code: ErrorCode
  /** Facts a program can use: the valid offset range, the limit that was passed, the address that was taken. */
  readonly details: Readonly<Record<string, unknown>>

  /** @param message One sentence for a person: what happened, to what, and the way out where there is one. */
  constructor(code: ErrorCode, message: string, details: Readonly<Record<string, unknown>> = {}, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause })
    this.code = code
    this.details = details
  }

  /** True if the same request can succeed later without being changed. */
  get retriable(): boolean {
    return ERROR_CODES[this.code].retriable
  }

  get httpStatus(): number {
    return ERROR_CODES[this.code].httpStatus
  }
}

/** The message of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
