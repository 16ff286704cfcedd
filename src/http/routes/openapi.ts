// GET /openapi.json: what this interface offers, for programs that make clients and for people who look it up.

import { openApiOf } from '../openapi.js'
import { jsonReply, type Route } from '../route.js'

/** @param others All other routes of the server. */
export function openApiRoutes(others: readonly Route[]): Route[] {
  const route: Route = {
    method: 'GET',
    pattern: '/openapi.json',
    scope: 'none',
    handle: () => jsonReply(openApiOf([...others, route])),
  }
  return [route]
}
