// Finds the route of a request. Patterns are compared segment by segment; a literal wins over a `{parameter}`, and patterns are
// few, so a linear search is enough.

import { SluiceError } from '../base/errors.js'
import { checkParameter, quote } from './parameters.js'
import type { Route } from './route.js'

export interface Match {
  readonly route: Route
  readonly params: Readonly<Record<string, string>>
}

export class Router {
  private readonly routes: readonly { readonly route: Route; readonly segments: readonly string[] }[]

  constructor(routes: readonly Route[]) {
    const seen = new Set<string>()
    for (const { method, pattern } of routes) {
      const shape = `${method} ${pattern.replace(/\{\w+\}/g, '{}')}`
      if (seen.has(shape)) throw new TypeError(`two routes for ${method} ${pattern}`)
      seen.add(shape)
    }
    this.routes = routes.map((route) => ({ route, segments: route.pattern.split('/') }))
  }

  /**
   * @param path As it came, before any decoding, without the query.
   * @throws SluiceError INVALID_REQUEST for a path no client should send, NOT_FOUND, METHOD_NOT_ALLOWED (details: allowed).
   */
  match(method: string, path: string): Match {
    const segments = path.split('/').map((segment) => decodeSegment(segment, path))
    const allowed = new Set<string>()
    let best: Match | null = null
    for (const candidate of this.routes) {
      const captured = capture(candidate.segments, segments)
      if (captured === null) continue
      allowed.add(candidate.route.method)
      if (candidate.route.method !== method) continue
      if (best === null || Object.keys(captured).length < Object.keys(best.params).length)
        best = { route: candidate.route, params: captured }
    }
    if (best !== null) {
      for (const [kind, value] of Object.entries(best.params)) checkParameter(kind, value)
      return best
    }
    if (allowed.size === 0)
      throw new SluiceError('NOT_FOUND', `nothing at ${quote(path)}: the API begins at /v1/streams`, { path })
    const methods = [...allowed].sort().join(', ')
    throw new SluiceError('METHOD_NOT_ALLOWED', `${method} is not possible at ${path}: use ${methods}`, {
      allowed: methods,
    })
  }
}

function capture(pattern: readonly string[], segments: readonly string[]): Record<string, string> | null {
  if (pattern.length !== segments.length) return null
  const params: Record<string, string> = {}
  for (let i = 0; i < pattern.length; i++) {
    if (pattern[i].startsWith('{')) params[pattern[i].slice(1, -1)] = segments[i]
    else if (pattern[i] !== segments[i]) return null
  }
  return params
}

/** Decodes once. What decodes to a separator, a control character or a relative step is refused: names hold none of these. */
function decodeSegment(segment: string, path: string): string {
  let decoded: string
  try {
    decoded = decodeURIComponent(segment)
  } catch {
    throw new SluiceError('INVALID_REQUEST', `path ${quote(path)} has a broken percent-encoding`, { path })
  }
  if (decoded === '.' || decoded === '..' || /[/\\\p{Cc}]/u.test(decoded))
    throw new SluiceError('INVALID_REQUEST', `path ${quote(path)} has a segment that no name can have`, { path })
  return decoded
}
