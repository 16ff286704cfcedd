// GET /metrics: everything the node counts, as Prometheus text.

import type { MetricsRegistry } from '../metrics.js'
import type { Route } from '../route.js'

export function metricsRoutes({ metrics }: { readonly metrics: MetricsRegistry }): Route[] {
  return [
    {
      method: 'GET',
      pattern: '/metrics',
      handle: () => ({
        headers: { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' },
        body: metrics.render(),
      }),
    },
  ]
}
