// test-run: limit 240 s
// What is left when a gateway is gone for good: consumers go on at the site where they had committed, and a gateway set up anew under the same
// name is refused until an operator has a say.

import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { requestJson } from '../helpers/http.js'
import { assertSame, caughtUp, gatewayConfig } from '../helpers/mirror-check.js'
import { NodeProcess, runSluice } from '../helpers/node-process.js'
import { publishReadings } from '../helpers/publish-readings.js'
import { until } from '../helpers/until.js'

const RECORDS = 1000
const READ_AT_THE_GATEWAY = 600

interface Group {
  readonly offsets?: readonly {
    readonly stream: string
    readonly partition: number
    readonly committed_offset: number
  }[]
}

/** As a user would: reads so many records as a member of the group, which commits them. */
async function consume(node: NodeProcess, stream: string, count: number): Promise<string[]> {
  const args = [
    'consume',
    stream,
    '--group',
    'app',
    '--count',
    `${count}`,
    '--format',
    '%p/%o\\n',
    '--url',
    node.httpUrl,
  ]
  const { code, stdout, stderr } = await runSluice(args)
  assert.is(code, 0, stderr)
  return stdout.trimEnd().split('\n')
}

async function committedAt(node: NodeProcess, stream: string): Promise<number> {
  const { body } = await requestJson<Group>(`${node.httpUrl}/v1/groups/app`)
  const ours = (body.offsets ?? []).filter((one) => one.stream === stream)
  return ours.reduce((sum, { committed_offset: offset }) => sum + offset, 0)
}

test('after the gateway has died a consumer goes on at the site, with the record after the last one it has committed', async () => {
  const site = await NodeProcess.start({ config: 'node_id = "site"\n' })
  const gateway = await NodeProcess.start({ config: gatewayConfig('gw-17', site.mqttPort) })
  await publishReadings(gateway, RECORDS)
  const before = await consume(gateway, 'telemetry', READ_AT_THE_GATEWAY)
  assert.is(await committedAt(gateway, 'telemetry'), READ_AT_THE_GATEWAY)
  await caughtUp([gateway, 'telemetry'], [site, 'gw-17.telemetry'])
  const there = () => committedAt(site, 'gw-17.telemetry')
  await until('committed offsets have travelled along', there, (sum) => sum === READ_AT_THE_GATEWAY)
  await gateway.kill('SIGKILL')

  const after = await consume(site, 'gw-17.telemetry', RECORDS - READ_AT_THE_GATEWAY)
  assert.is(new Set([...before, ...after]).size, RECORDS, 'none is missing, none comes twice')
  assert.is(await there(), RECORDS)
  await site.kill()
})

test('a gateway that was set up anew under the name of another is refused, loudly at both ends, until it is accepted', async () => {
  const site = await NodeProcess.start({ config: 'node_id = "site"\n' })
  const config = gatewayConfig('gw-17', site.mqttPort)
  const former = await NodeProcess.start({ config })
  await publishReadings(former, 300)
  await caughtUp([former, 'telemetry'], [site, 'gw-17.telemetry'])
  await former.kill()

  // Another card, nothing on it.
  const reimaged = await NodeProcess.start({ config })
  await publishReadings(reimaged, 500)
  const upstreams = async () => (await runSluice(['upstreams', '--url', reimaged.httpUrl])).stderr
  const said = await until('the gateway says why', upstreams, (text) => /refused by the upstream/.test(text))
  assert.match(said, /another data directory.*sluice origins gw-17 accept/)
  assert.match(reimaged.output, /WARN .*another data directory/)
  assert.match(site.output, /ERROR .*came with another data directory.*gw-17/)
  const origins = await runSluice(['origins', '--url', site.httpUrl])
  assert.match(origins.stdout, /gw-17 .*refused: a node with this id came with another data directory/)

  assert.is((await runSluice(['origins', 'gw-17', 'accept', '--url', site.httpUrl])).code, 0)
  await caughtUp([reimaged, 'telemetry'], [site, 'gw-17.telemetry'])
  assert.is(await assertSame([reimaged, 'telemetry'], [site, 'gw-17.telemetry']), 500)
  const { stdout } = await runSluice(['streams', '--url', site.httpUrl])
  assert.match(stdout, /gw-17\.telemetry\.1 /, 'what the former one had sent stays readable')
  await reimaged.kill()
  await site.kill()
})

test.run()
