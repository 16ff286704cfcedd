// GET /healthz: 200 while the node does its work, 503 with the reasons while it does not. For supervisors and load balancers.

import { jsonReply, type Route } from '../route.js'

export interface Health {
  readonly ready: boolean
  /** Sentences: why it is not ready, or what it is short of although it is. */
  readonly reasons: readonly string[]
}

export function healthRoutes({ health }: { readonly health: () => Health }): Route[] {
  return [
    {
      method: 'GET',
      pattern: '/healthz',
      scope: 'none',
      handle() {
        const { ready, reasons } = health()
        return jsonReply({ status: ready ? 'ready' : 'not_ready', reasons }, ready ? 200 : 503)
      },
    },
  ]
}
