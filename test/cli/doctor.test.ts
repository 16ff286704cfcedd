import { readdirSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { checkClock, checkMemory, checkOpenFiles, type Finding } from '../../src/cli/doctor-checks.js'
import { measureSync } from '../../src/cli/sync-probe.js'
import { loadValidConfig } from '../../src/config/load.js'
import { tempDir } from '../helpers/temp-dir.js'
import { fakeNode, runCli } from './cli-helper.js'

const folder = tempDir()
const config = loadValidConfig({})

async function findingsOf(
  env: Record<string, string> = {},
): Promise<{ code: number; ok: boolean; of(check: string): Finding[] }> {
  const anyPorts = { SLUICE_MQTT_LISTEN: '127.0.0.1:0', SLUICE_HTTP_LISTEN: '127.0.0.1:0' }
  const { code, stdout } = await runCli(['doctor', '--json'], {
    env: { SLUICE_DATA_DIR: join(folder, 'data'), ...anyPorts, ...env },
  })
  const { ok, findings } = JSON.parse(stdout) as { ok: boolean; findings: Finding[] }
  return { code, ok, of: (check) => findings.filter((finding) => finding.check === check) }
}

test('a healthy machine passes, with the times of its disk, and nothing is left behind', async () => {
  const { code, ok, of } = await findingsOf()
  assert.is(code, 0)
  assert.ok(ok)
  assert.match(of('durable writes')[0].found, /fdatasync of 4 KB: p50 .*, p99 .*, max/)
  for (const check of [
    'Node.js',
    'configuration',
    'data directory',
    'disk space',
    'mqtt address',
    'http address',
    'open files',
    'memory',
    'clock',
  ])
    assert.is(of(check).length, 1, check)
  assert.equal(readdirSync(folder), [])
})

test('each finding that is not good is followed by what to do', async () => {
  const { stdout, code } = await runCli(['doctor'], { env: { SLUICE_MQTT_MAX_CONNECTIONS: '0' } })
  assert.is(code, 1)
  assert.match(
    stdout,
    /^fail {2}configuration {4}SLUICE_MQTT_MAX_CONNECTIONS: .*below the least, 1\n {6}-> set it from 1/m,
  )
})

test('an address taken by another program fails; taken by a node it is good news', async () => {
  const other = createServer()
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve))
  const { port } = other.address() as AddressInfo
  const taken = await findingsOf({ SLUICE_MQTT_LISTEN: `127.0.0.1:${port}` })
  assert.is(taken.code, 1)
  assert.match(taken.of('mqtt address')[0].found, 'is taken by another program')
  assert.match(taken.of('mqtt address')[0].fix ?? '', `sport = :${port}`)
  other.close()
  const node = await fakeNode(200, [])
  const running = await findingsOf({ SLUICE_HTTP_LISTEN: node.url })
  assert.is(running.code, 0)
  assert.match(running.of('http address')[0].found, 'a node is running')
  await node.close()
})

test('a data directory that cannot be is a failure of that check, not of the program', async () => {
  writeFileSync(join(folder, 'file'), '')
  const { code, of } = await findingsOf({ SLUICE_DATA_DIR: join(folder, 'file', 'data') })
  assert.is(code, 1)
  assert.is(of('configuration')[0].status, 'fail')
})

test('a clock from before the installation is suspect', () => {
  assert.is(checkClock(Date.now()).status, 'ok')
  assert.is(checkClock(0).status, 'warn')
})

test('limits on open files and memory are held against what the configuration can need', () => {
  const limits = (soft: string): string =>
    `Limit  Soft Limit  Hard Limit\nMax open files            ${soft}                 4096  files\n`
  assert.is(checkOpenFiles(config, limits('1024')).status, 'warn')
  assert.is(checkOpenFiles(config, limits('1288')).status, 'ok')
  assert.is(checkOpenFiles(config, limits('1287')).status, 'warn')
  assert.is(checkOpenFiles(config, limits('unlimited')).status, 'ok')
  assert.is(checkOpenFiles(config, null).status, 'ok')
  assert.is(checkMemory(config, 1024 ** 3).status, 'ok')
  assert.is(checkMemory(config, 256 * 1024 ** 2).status, 'warn')
})

test('the disk is timed with real syncs, in order', async () => {
  const { rounds, p50Ms, p99Ms, maxMs } = await measureSync(folder)
  assert.ok(rounds > 0 && p50Ms > 0 && p50Ms <= p99Ms && p99Ms <= maxMs)
})

test.run()
