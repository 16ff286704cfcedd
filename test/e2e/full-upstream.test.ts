// test-run: limit 240 s
// The disk of an upstream node fills up: its gateway waits, both say why, and once there is room everything arrives, once and in order.

import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { getJson } from '../helpers/http.js'
import { assertSame, caughtUp, gatewayConfig } from '../helpers/mirror-check.js'
import { NodeProcess } from '../helpers/node-process.js'
import { publishReadings } from '../helpers/publish-readings.js'
import { unlessSkipped } from '../helpers/skip.js'
import { SmallDisk } from '../helpers/small-disk.js'
import { until } from '../helpers/until.js'

const DISK_MB = 64
const ROUND = 3000
const MAX_ROUNDS = 60
const FULL = /No space left on device/
const cloudConfig = `
node_id = "cloud"
[storage]
segment_size = "1MB"
ballast_size = "2MB"
`

interface Upstream {
  readonly last_error?: string
  readonly backlog_records: number
}

const disk = SmallDisk.make(DISK_MB)

unlessSkipped(test, disk === null ? 'mounting a tmpfs needs root' : null)(
  'a gateway waits for an upstream whose disk is full, both say why, and with room again nothing is lost or twice',
  async () => {
    const { path } = disk as SmallDisk
    const cloud = await NodeProcess.start({ config: cloudConfig, dataDir: join(path, 'data') })
    const gateway = await NodeProcess.start({ config: gatewayConfig('gw-17', cloud.mqttPort) })
    await publishReadings(gateway, 2000, 0)
    await caughtUp([gateway, 'telemetry'], [cloud, 'gw-17.telemetry'])
    await (disk as SmallDisk).fillUp()
    const status = () => getJson<Upstream>(`${gateway.httpUrl}/v1/upstreams/cloud`)
    // What was laid out in advance takes some more, how much depends.
    let published = 2000
    for (let round = 0; round < MAX_ROUNDS && !FULL.test((await status()).last_error ?? ''); round++) {
      await publishReadings(gateway, ROUND, published)
      published += ROUND
    }
    await publishReadings(gateway, ROUND, published)
    published += ROUND
    const waiting = await until('the gateway says why', status, ({ last_error: error = '' }) => FULL.test(error))
    assert.ok(waiting.backlog_records > 0)
    const origins = () => getJson<{ origins: { alarm: string | null }[] }>(`${cloud.httpUrl}/v1/origins`)
    const alarmIn = ({ origins: [origin] }: Awaited<ReturnType<typeof origins>>) => origin?.alarm ?? ''
    await until('the upstream says why', origins, (answer) => FULL.test(alarmIn(answer)))
    assert.is((await fetch(`${cloud.httpUrl}/healthz`)).status, 503)
    // A restart changes nothing about it, on either side.
    await gateway.kill('SIGKILL')
    await gateway.startAgain()
    await until('the gateway says why after its restart', status, ({ last_error: error = '' }) => FULL.test(error))
    const attempts = () => cloud.output.match(/a node forwards to this one/g)?.length ?? 0
    const before = attempts()
    await until(
      'the gateway has tried again',
      async () => attempts(),
      (now) => now >= before + 3,
    )
    const lines = cloud.output.match(/WARN .*what a node forwards was refused/g) ?? []
    assert.ok(lines.length <= 2, `an outage is no flood of warnings: ${lines.length} of them`)
    ;(disk as SmallDisk).free()
    await caughtUp([gateway, 'telemetry'], [cloud, 'gw-17.telemetry'], 60_000)
    assert.is(await assertSame([gateway, 'telemetry'], [cloud, 'gw-17.telemetry']), published)
    await until('the alarm is over', origins, (answer) => alarmIn(answer) === '')
    assert.equal((await getJson<{ entries: unknown[] }>(`${cloud.httpUrl}/v1/ledger`)).entries, [])
    await gateway.kill()
    await cloud.kill()
    disk?.remove()
  },
)

test.run()
