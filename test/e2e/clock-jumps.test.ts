// test-run: limit 240 s
// A gateway has no clock battery: its time of day jumps by a year, forwards and back, while it replicates. libfaketime makes the real program see
// that; durations (monotonic clock) stay real, as they do on a real machine.

import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { getJson } from '../helpers/http.js'
import { assertSame, caughtUp, gatewayConfig, streamAt } from '../helpers/mirror-check.js'
import { NodeProcess } from '../helpers/node-process.js'
import { publishReadings } from '../helpers/publish-readings.js'
import { unlessSkipped } from '../helpers/skip.js'
import { TcpProxy } from '../helpers/tcp-proxy.js'
import { tempDir } from '../helpers/temp-dir.js'
import { until } from '../helpers/until.js'

const LIBRARIES = ['x86_64-linux-gnu', 'aarch64-linux-gnu'].map(
  (arch) => `/usr/lib/${arch}/faketime/libfaketimeMT.so.1`,
)
const library = LIBRARIES.find((path) => existsSync(path))
const YEAR_MS = 365 * 24 * 3600 * 1000
const RECORDS = 400
const DAILY_BUDGET_BYTES = 50_000_000

interface Upstream {
  readonly state: string
  readonly connected_since_ms: number | null
  readonly next_attempt_in_ms?: number
  readonly drain_forecast_ms: number | null
  readonly backlog_records: number
  readonly daily: { readonly left_bytes: number; readonly ends_in_ms: number }
}

unlessSkipped(test, library === undefined ? 'libfaketime is not installed' : null)(
  'a clock that jumps by a year, either way, costs no record, no connection and no day of the budget',
  async () => {
    const clock = join(tempDir(), 'clock')
    const jumpTo = (offset: string): void => writeFileSync(clock, offset)
    jumpTo('+0d')
    const cloud = await NodeProcess.start({ config: 'node_id = "cloud"\n' })
    const link = await TcpProxy.start(cloud.mqttPort)
    const config = gatewayConfig('gw-17', link.port, {
      stream: 'retention = { max_bytes = "1GB", max_age = "1d" }',
      upstream: `daily_budget = "${DAILY_BUDGET_BYTES / 1_000_000}MB"`,
    })
    const env = {
      ...{ LD_PRELOAD: library, FAKETIME_TIMESTAMP_FILE: clock, FAKETIME_NO_CACHE: '1' },
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
    }
    const gateway = await NodeProcess.start({ config, env })
    const status = () => getJson<Upstream>(`${gateway.httpUrl}/v1/upstreams/cloud`)
    let published = 0
    const forwardMore = async (): Promise<Upstream> => {
      await publishReadings(gateway, RECORDS, published)
      published += RECORDS
      await caughtUp([gateway, 'telemetry'], [cloud, 'gw-17.telemetry'])
      assert.is(await assertSame([gateway, 'telemetry'], [cloud, 'gw-17.telemetry']), published)
      return until('nothing waits', status, (one) => one.backlog_records === 0)
    }

    let before = await forwardMore()
    for (const offset of ['+365d', '-365d', '+0d']) {
      jumpTo(offset)
      const after = await forwardMore()
      assert.is(link.accepted, 1, `the connection has survived the jump to ${offset}`)
      // A day is what the node has been on: it neither ends nor begins again.
      assert.ok(after.daily.left_bytes < before.daily.left_bytes, `${after.daily.left_bytes} bytes left at ${offset}`)
      assert.ok(after.daily.ends_in_ms <= before.daily.ends_in_ms, `${after.daily.ends_in_ms} ms left at ${offset}`)
      before = after
    }
    // The jump has been seen: the records of that time say so.
    const times = (
      await getJson<{ records: { timestamp_ms: number }[] }>(
        `${gateway.httpUrl}/v1/streams/telemetry/partitions/0/records?offset=earliest&max_records=10000`,
      )
    ).records.map(({ timestamp_ms: time }) => time)
    assert.ok(Math.max(...times) - Math.min(...times) > 1.9 * YEAR_MS, `${Math.min(...times)} to ${Math.max(...times)}`)

    // The clock jumps while the link is down, and across a restart: the next attempts come when they would have.
    for (const offset of ['-365d', '+365d']) {
      link.refuse(true)
      await until('the link is down', status, ({ state }) => state === 'waiting')
      jumpTo(offset)
      link.refuse(false)
      await forwardMore()
      await gateway.kill('SIGKILL')
      jumpTo('+0d')
      await gateway.startAgain()
      await forwardMore()
    }
    const { log_start_offset: start } = (await streamAt(gateway, 'telemetry'))!.partitions[0]
    assert.is(start, 0, 'nothing has aged')
    for (const node of [gateway, cloud])
      assert.equal((await getJson<{ entries: unknown[] }>(`${node.httpUrl}/v1/ledger`)).entries, [])
    await gateway.kill()
    await cloud.kill()
    await link.stop()
  },
)

test.run()
