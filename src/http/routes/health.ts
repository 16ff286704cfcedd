// GET /healthz: 200 while the node does its work, 503 with the reasons while it does not. For supervisors and load balancers.

import type { Health } from '../health.js'
import { jsonReply, type Route } from '../route.js'

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
