// Why a connection ended, and whether an operator should hear of it.

export interface CloseReason {
  /** A phrase for the log. */
  readonly text: string
  /** `fault`: the client did, or we had to do, what must not happen every day. */
  readonly kind: 'ordinary' | 'notable' | 'fault'
  /** The configuration key that raises the limit that was passed. */
  readonly raise?: string
}

export const CONNECTION_LOST: CloseReason = { text: 'connection lost', kind: 'ordinary' }
export const CLIENT_DISCONNECTED: CloseReason = { text: 'client disconnected', kind: 'ordinary' }
export const NODE_STOPPING: CloseReason = { text: 'the node is stopping', kind: 'ordinary' }
export const TAKEN_OVER: CloseReason = { text: 'another connection took the session over', kind: 'notable' }
export const ACCESS_REVOKED: CloseReason = { text: 'its login is not good any more', kind: 'notable' }
export const JUDGED_AGAIN: CloseReason = {
  text: 'mqtt.ca_file or crl_file has changed: its certificate is judged again when it comes back',
  kind: 'notable',
}
/** The reason of a refusal that has been logged where it was decided. */
export const REFUSED_AT_LOGIN: CloseReason = { text: 'refused', kind: 'ordinary' }

/** The socket's own words, such as `read ECONNRESET`. */
export function ordinary(text: string): CloseReason {
  return { text, kind: 'ordinary' }
}

export function fault(text: string): CloseReason {
  return { text, kind: 'fault' }
}

/** @param raise A key of the configuration, as `mqtt.max_packet_size`. */
export function pastLimit(text: string, raise: string): CloseReason {
  return { text, kind: 'fault', raise }
}

/** The client broke the standard. @param raise See CloseReason; where a limit was passed rather than a rule. */
export function violation(problem: string, raise?: string): CloseReason {
  const text = `protocol violation: ${problem}`
  return raise === undefined ? fault(text) : pastLimit(problem, raise)
}
