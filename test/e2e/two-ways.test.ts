// A gateway reaches the cloud directly and by way of a site. What one way has brought, the other finds there.

import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { getJson } from '../helpers/http.js'
import { assertSame, caughtUp, siteConfig } from '../helpers/mirror-check.js'
import { NodeProcess } from '../helpers/node-process.js'
import { publishReadings } from '../helpers/publish-readings.js'
import { TcpProxy } from '../helpers/tcp-proxy.js'
import { until } from '../helpers/until.js'

const HALF = 500

interface Upstream {
  readonly backlog_records: number
  readonly partitions: readonly { readonly problem?: string }[]
}

const upstream = (name: string, port: number) => `
[[upstream]]
name = "${name}"
type = "sluice"
url = "mqtt://127.0.0.1:${port}"
streams = ["telemetry"]
reconnect_min_ms = 20
reconnect_max_ms = 200
`

test('a way that is behind says that the upstream has more already, and goes on once it has come as far', async () => {
  const cloud = await NodeProcess.start({ config: 'node_id = "cloud"\n' })
  const upper = await TcpProxy.start(cloud.mqttPort)
  const site = await NodeProcess.start({ config: siteConfig(upper.port) })
  const lower = await TcpProxy.start(site.mqttPort)
  const gateway = await NodeProcess.start({
    config: `node_id = "gw-17"
[[stream]]
name = "telemetry"
topics = ["#"]
${upstream('direct', cloud.mqttPort)}${upstream('site', lower.port)}`,
  })
  try {
    upper.refuse(true)
    await publishReadings(gateway, HALF)
    await caughtUp([gateway, 'telemetry'], [site, 'gw-17.telemetry'])
    lower.refuse(true)
    await publishReadings(gateway, HALF, HALF)
    await caughtUp([gateway, 'telemetry'], [cloud, 'gw-17.telemetry'])
    upper.refuse(false)
    const status = () => getJson<Upstream>(`${site.httpUrl}/v1/upstreams/cloud`)
    const waits = ({ partitions: [one] }: Upstream) => /another way/.test(one?.problem ?? '')
    await until('the site says why it waits', status, waits)
    lower.refuse(false)
    await caughtUp([gateway, 'telemetry'], [site, 'gw-17.telemetry'])
    await until('it waits no more', status, (now) => now.backlog_records === 0 && !waits(now))
    for (const node of [site, cloud])
      assert.is(await assertSame([gateway, 'telemetry'], [node, 'gw-17.telemetry']), 2 * HALF)
  } finally {
    await gateway.kill()
    await site.kill()
    await cloud.kill()
    await upper.stop()
    await lower.stop()
  }
})

test.run()
