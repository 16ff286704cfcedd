// Two bridges of one name, each a process of its own as far as the node can tell.

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { RemoteNode } from '../../firmware-bridge/remote/remote-node.js'
import { Logger, loadValidConfig, type RunningNode, startNode } from '../../src/index.js'
import { NodeProcess, startSluice } from '../helpers/node-process.js'
import { errorOf } from '../helpers/rejection.js'
import { TcpProxy } from '../helpers/tcp-proxy.js'
import { tempDir } from '../helpers/temp-dir.js'
import { freeUdpPort } from '../helpers/udp-proxy.js'
import { until } from '../helpers/until.js'

const quiet = new Logger('test', 'error', () => {})
const stops: (() => Promise<unknown>)[] = []
test.after.each(async () => {
  for (const stop of stops.splice(0).reverse()) await stop()
})

async function startPlainNode(): Promise<RunningNode> {
  const text = `[mqtt]\nlisten = ["127.0.0.1:0"]\n[http]\nlisten = ["127.0.0.1:0"]\n`
  const node = await startNode(loadValidConfig({ text, dataDir: tempDir(), environment: {} }), { logger: quiet })
  stops.push(() => node.stop())
  return node
}

const portOf = (node: RunningNode) => Number(node.httpAddresses[0].split(':').at(-1))

function bridge(port: number, name = 'shed'): RemoteNode {
  const node = new RemoteNode({ url: `http://127.0.0.1:${port}`, name, logger: quiet, answerTimeoutMs: 1000 })
  stops.push(() => node.stop())
  return node
}

const message = { mqttTopic: 'm', payload: Buffer.from('m') }

/** What the node says to a process that does not have the name. */
async function strangerIsTold(port: number): Promise<number> {
  const { status } = await fetch(`http://127.0.0.1:${port}/v1/bridges/shed/tables/devices?run=stranger`)
  return status
}

test('a second process of one name is refused, and the first is heard as before', async () => {
  const port = portOf(await startPlainNode())
  const [first, second, other] = [bridge(port), bridge(port), bridge(port, 'barn')]
  await first.join()
  const { code, message: said } = await errorOf(second.join())
  assert.is(code, 'FENCED_INSTANCE_ID')
  assert.match(said, /bridge shed.*--name/)
  await other.join()
  await first.publish(message).durable
  assert.is(await strangerIsTold(port), 409)
  await first.stop()
  await second.join()
  await second.publish(message).durable
})

test('a bridge has its name again once the node is back', async () => {
  const proxy = await TcpProxy.start(portOf(await startPlainNode()))
  stops.push(() => proxy.stop())
  const first = bridge(proxy.port)
  await first.join()
  const again = portOf(await startPlainNode())
  proxy.targetPort = again
  assert.is(await strangerIsTold(again), 200)
  proxy.cutAll()
  await until(
    'the name is held',
    () => strangerIsTold(again),
    (status) => status === 409,
  )
  await first.publish(message).durable
})

test('a bridge that was away while another took its name is told, and nothing of it is stored', async () => {
  const port = portOf(await startPlainNode())
  const proxy = await TcpProxy.start(port)
  stops.push(() => proxy.stop())
  const [first, second] = [bridge(proxy.port), bridge(port)]
  await first.join()
  proxy.refuse(true)
  await second.join()
  proxy.refuse(false)
  const { durable } = first.publish(message)
  assert.is((await first.fenced).code, 'FENCED_INSTANCE_ID')
  await first.stop()
  assert.is((await errorOf(durable)).code, 'SHUTTING_DOWN')
  await second.publish({ ...message, payload: Buffer.from('of the second') }).durable
  const url = `http://127.0.0.1:${port}/v1/streams/mqtt/partitions/0/records?offset=0`
  const { records } = (await (await fetch(url)).json()) as { records: { value: string }[] }
  assert.equal(
    records.map(({ value }) => value),
    ['of the second'],
  )
})

test('`sluice bridge` ends with an error that says what to do; one that was killed leaves its name', async () => {
  const node = await NodeProcess.start()
  stops.push(() => node.kill('SIGKILL'))
  const start = async () => {
    const config = join(tempDir(), 'bridge.toml')
    writeFileSync(
      config,
      `[[firmware]]\nname = "air"\ntype = "mqtt-sn"\nlisten = ["127.0.0.1:${await freeUdpPort()}"]\n`,
    )
    const program = startSluice(['bridge', '--url', node.httpUrl, '--name', 'shed', '--config', config])
    stops.push(() => program.stop('SIGKILL'))
    return program
  }
  const ready = /^sluice bridge ready name=shed /m
  const first = await start()
  await first.waitFor(ready, 'stdout')
  const second = await start()
  assert.is((await second.ended).code, 1)
  assert.match(second.stderr, /sluice bridge: another process .* as bridge shed: .*--name/)
  await first.stop('SIGKILL')
  await (await start()).waitFor(ready, 'stdout')
})

test.run()
