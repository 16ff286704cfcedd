// Checks of everything that comes in a path or a query. Names reach file paths and log lines, so they are matched against what is
// allowed, never searched for what is not.

import { SluiceError } from '../base/errors.js'
import { parseStartPosition, START_POSITION_HELP, type StartPosition } from '../base/start-position.js'
import type { HttpRequest } from './route.js'

const NAME = { pattern: /^[A-Za-z0-9_-]{1,64}$/, says: '1 to 64 letters, digits, _ or -' }
/** A name, or `<origin>.<stream>`: the mirror of another node's stream, which can only be read. */
const STREAM = {
  pattern: /^[A-Za-z0-9_-]{1,64}(\.[A-Za-z0-9_-]{1,64}(\.\d{1,9})?)?$/,
  says: '1 to 64 letters, digits, _ or -; for the mirror of a stream, ORIGIN.STREAM or ORIGIN.STREAM.N',
}
const ID = { pattern: /^(?!\.{1,2}$)[A-Za-z0-9._-]{1,249}$/, says: '1 to 249 letters, digits, ., _ or -' }
const INDEX = { pattern: /^(0|[1-9]\d{0,9})$/, says: 'a whole number from 0' }

/** What a `{name}` in a route's pattern, or a name in a body, may hold. */
export const PARAMETER_RULES: Readonly<Record<string, { readonly pattern: RegExp; readonly says: string }>> = {
  stream: STREAM,
  upstream: NAME,
  origin: NAME,
  group: ID,
  member: ID,
  partition: INDEX,
  instance_id: ID,
  token_name: ID,
  bridge: NAME,
  run: {
    pattern: /^[A-Za-z0-9_-]{1,64}$/,
    says: 'what the bridge is known by until it ends: 1 to 64 letters, digits, _ or -',
  },
  table: { pattern: /^[a-z-]{1,32}$/, says: '1 to 32 small letters or -' },
  numbered_by: { pattern: /^[^\p{Cc}]{1,256}$/u, says: '1 to 256 characters' },
  device: { pattern: /^[^+#/\p{Cc}]{1,64}$/u, says: '1 to 64 characters without +, # and /' },
  producer_id: { pattern: /^[A-Za-z0-9._-]{1,128}$/, says: '1 to 128 letters, digits, ., _ or -' },
  // The node adds an id of its own to it.
  member_name: { pattern: /^[A-Za-z0-9._-]{1,200}$/, says: '1 to 200 letters, digits, ., _ or -' },
}

/** @throws SluiceError INVALID_REQUEST when `value` breaks the rule of `kind`. */
export function checkParameter(kind: string, value: string): string {
  const rule = PARAMETER_RULES[kind]
  if (rule === undefined) throw new TypeError(`no rule for path parameter {${kind}}`)
  if (!rule.pattern.test(value))
    throw new SluiceError('INVALID_REQUEST', `${kind} ${quote(value)} is not valid: use ${rule.says}`, {
      [kind]: value,
    })
  return value
}

/** A whole number from the query. @throws SluiceError INVALID_REQUEST outside [minimum, maximum]. */
export function numberOf(
  request: Pick<HttpRequest, 'query'>,
  name: string,
  rule: { readonly minimum: number; readonly maximum: number; readonly otherwise: number },
): number {
  const text = request.query.get(name)
  if (text === undefined) return rule.otherwise
  const value = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN
  if (!(value >= rule.minimum && value <= rule.maximum))
    throw new SluiceError(
      'INVALID_REQUEST',
      `${name}=${quote(text)} is not valid: use a whole number from ${rule.minimum} to ${rule.maximum}`,
      { [name]: text, minimum: rule.minimum, maximum: rule.maximum },
    )
  return value
}

/** @throws SluiceError INVALID_REQUEST. */
export function startPositionOf(name: string, text: string): StartPosition {
  const start = parseStartPosition(text)
  if (start !== null) return start
  throw new SluiceError('INVALID_REQUEST', `${name}=${quote(text)} is not valid: use ${START_POSITION_HELP}`, {
    [name]: text,
  })
}

/** For messages: printable, and never longer than a line. */
export function quote(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text)
}
