// test-run: limit 240 s
import { cpSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { getJson, requestJson } from '../helpers/http.js'
import {
  assertSame,
  caughtUp,
  gatewayConfig,
  lastError,
  siteConfig,
  storedRecords,
  streamAt,
} from '../helpers/mirror-check.js'
import { NodeProcess } from '../helpers/node-process.js'
import { publishReadings } from '../helpers/publish-readings.js'
import { TcpProxy } from '../helpers/tcp-proxy.js'
import { tempDir } from '../helpers/temp-dir.js'
import { until } from '../helpers/until.js'

const WAIT_MS = 20_000

interface LedgerRow {
  readonly destination: string
  readonly stream: string
  readonly partition: number
  readonly first_offset: number
  readonly last_offset: number
  readonly reason: string
}

test('what a gateway stores is at its Sluice upstream under the same offsets', async () => {
  const cloud = await NodeProcess.start({ config: 'node_id = "cloud"\n' })
  const gateway = await NodeProcess.start({ config: gatewayConfig('gw-17', cloud.mqttPort) })
  await publishReadings(gateway, 5000)
  await caughtUp([gateway, 'telemetry'], [cloud, 'gw-17.telemetry'])
  assert.is(await assertSame([gateway, 'telemetry'], [cloud, 'gw-17.telemetry']), 5000)
  await gateway.kill()
  await cloud.kill()
})

test('offsets that a consumer group commits at the gateway are committed for the mirror', async () => {
  const cloud = await NodeProcess.start({ config: 'node_id = "cloud"\n' })
  const gateway = await NodeProcess.start({ config: gatewayConfig('gw-17', cloud.mqttPort) })
  await publishReadings(gateway, 500)
  await caughtUp([gateway, 'telemetry'], [cloud, 'gw-17.telemetry'])
  const offsets = [{ stream: 'telemetry', partition: 0, offset: 17 }]
  const commit = await requestJson(`${gateway.httpUrl}/v1/groups/app/offsets`, { method: 'POST', body: { offsets } })
  assert.is(commit.status, 200)
  interface Group {
    readonly offsets: readonly { readonly stream: string; readonly committed_offset: number }[]
  }
  const committed = async (): Promise<Group['offsets'][number] | undefined> =>
    (await requestJson<Group>(`${cloud.httpUrl}/v1/groups/app`)).body.offsets?.[0]
  const arrived = await until('the offset has arrived', committed, (found) => found !== undefined, WAIT_MS)
  const { stream, committed_offset: offset } = arrived ?? {}
  assert.equal([stream, offset], ['gw-17.telemetry', 17])
  await gateway.kill()
  await cloud.kill()
})

test('an upstream that was wiped gets again what is stored, and the cursor here does not matter', async () => {
  let cloud = await NodeProcess.start({ config: 'node_id = "cloud"\n' })
  const uplink = await TcpProxy.start(cloud.mqttPort)
  const gateway = await NodeProcess.start({ config: gatewayConfig('gw-17', uplink.port) })
  await publishReadings(gateway, 2000)
  await caughtUp([gateway, 'telemetry'], [cloud, 'gw-17.telemetry'])
  await cloud.kill()
  cloud = await NodeProcess.start({ config: 'node_id = "cloud"\n' })
  uplink.targetPort = cloud.mqttPort
  await publishReadings(gateway, 500, 2000)
  await caughtUp([gateway, 'telemetry'], [cloud, 'gw-17.telemetry'])
  assert.is(await assertSame([gateway, 'telemetry'], [cloud, 'gw-17.telemetry']), 2500)
  await gateway.kill()
  await cloud.kill()
  await uplink.stop()
})

test('a copy of a gateway is refused until an operator accepts it, and then gets a mirror of its own where it differs', async () => {
  const cloud = await NodeProcess.start({ config: 'node_id = "cloud"\n' })
  const config = gatewayConfig('gw-17', cloud.mqttPort)
  const gateway = await NodeProcess.start({ config })
  await publishReadings(gateway, 1000)
  await caughtUp([gateway, 'telemetry'], [cloud, 'gw-17.telemetry'])
  await gateway.kill()
  const copyDir = join(tempDir(), 'data')
  cpSync(gateway.dataDir, copyDir, { recursive: true })
  await gateway.startAgain()
  await publishReadings(gateway, 1000, 1000)
  await caughtUp([gateway, 'telemetry'], [cloud, 'gw-17.telemetry'])
  await gateway.kill()

  const copy = await NodeProcess.start({ config, dataDir: copyDir })
  await publishReadings(copy, 1500, 5000)
  await until(
    'the copy is refused',
    () => lastError(copy),
    (error) => /another data directory/.test(error),
    WAIT_MS,
  )
  assert.is((await streamAt(cloud, 'gw-17.telemetry'))?.partitions.length, 2)
  const before = await storedRecords(cloud, 'gw-17.telemetry')
  const { origins } = await getJson<{ origins: { node_id: string; alarm: string }[] }>(`${cloud.httpUrl}/v1/origins`)
  assert.match(origins[0].alarm, /refused/)

  const accepted = await requestJson(`${cloud.httpUrl}/v1/origins/gw-17/accept`, { method: 'POST', body: {} })
  assert.is(accepted.status, 200)
  await caughtUp([copy, 'telemetry'], [cloud, 'gw-17.telemetry'])
  await assertSame([copy, 'telemetry'], [cloud, 'gw-17.telemetry'])
  assert.equal(await storedRecords(cloud, 'gw-17.telemetry.1'), before)
  await copy.kill()
  await cloud.kill()
})

test('what retention takes before the link is back is in the ledger on both sides, and it is all that is missing', async () => {
  const cloud = await NodeProcess.start({ config: 'node_id = "cloud"\n' })
  const uplink = await TcpProxy.start(cloud.mqttPort)
  const small = { top: '[storage]\nsegment_size = "256KB"\n', stream: 'retention = { max_bytes = "1MB" }\n' }
  const gateway = await NodeProcess.start({ config: gatewayConfig('gw-17', uplink.port, small) })
  await publishReadings(gateway, 1000)
  await caughtUp([gateway, 'telemetry'], [cloud, 'gw-17.telemetry'])
  uplink.refuse(true)
  await publishReadings(gateway, 20_000, 1000)
  // What is dropped while frames of it are under way may be in the ledger although it arrives.
  await until(
    'retention has ended',
    async () => (await streamAt(gateway, 'telemetry'))!,
    ({ bytes, partitions }) => bytes <= 1024 * 1024 && partitions[0].log_start_offset > 1000,
    WAIT_MS,
  )
  uplink.refuse(false)
  await caughtUp([gateway, 'telemetry'], [cloud, 'gw-17.telemetry'])
  const rows = async (node: NodeProcess, destination: string, stream: string) =>
    (await getJson<{ entries: LedgerRow[] }>(`${node.httpUrl}/v1/ledger`)).entries
      .filter((row) => row.destination === destination && row.stream === stream)
      .map(({ partition, first_offset, last_offset, reason }) => ({ partition, first_offset, last_offset, reason }))
  const told = await rows(cloud, '*', 'gw-17.telemetry')
  assert.equal(told, await rows(gateway, 'cloud', 'telemetry'))
  assert.is(told.length, 2)
  for (const partition of [0, 1]) {
    const offsets = new Set((await storedRecords(cloud, 'gw-17.telemetry', partition)).map(({ offset }) => offset))
    const ends = (await streamAt(gateway, 'telemetry'))?.partitions ?? []
    const missing = Array.from({ length: ends[partition].high_watermark }, (_, i) => i).filter((i) => !offsets.has(i))
    const row = told.find((one) => one.partition === partition)
    assert.is(missing[0], row?.first_offset)
    assert.is(missing.at(-1), row?.last_offset)
    assert.is(missing.length, (row?.last_offset ?? 0) - (row?.first_offset ?? 0) + 1)
  }
  await gateway.kill()
  await cloud.kill()
  await uplink.stop()
})

test('a chain forwards mirrors under the name of their origin, and nothing goes back to where it came from', async () => {
  const cloud = await NodeProcess.start({ config: 'node_id = "cloud"\n' })
  const site = await NodeProcess.start({
    config: siteConfig(cloud.mqttPort),
  })
  const gateways = await Promise.all(
    ['gw-1', 'gw-2'].map((id) => NodeProcess.start({ config: gatewayConfig(id, site.mqttPort) })),
  )
  await Promise.all(gateways.map((gateway, i) => publishReadings(gateway, 1000, i * 1000)))
  for (const [i, gateway] of gateways.entries()) {
    await caughtUp([gateway, 'telemetry'], [cloud, `gw-${i + 1}.telemetry`])
    assert.is(await assertSame([gateway, 'telemetry'], [cloud, `gw-${i + 1}.telemetry`]), 1000)
  }
  await cloud.kill()
  await site.kill()
  for (const gateway of gateways) await gateway.kill()
})

test.run()
