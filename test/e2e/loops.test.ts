// test-run: limit 240 s
// Nodes that forward to each other in a circle, everything they have to the next: each record arrives at every node once, and nothing goes round.

import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { getJson } from '../helpers/http.js'
import { assertSame, caughtUp, streamAt } from '../helpers/mirror-check.js'
import { NodeProcess } from '../helpers/node-process.js'
import { publishReadings } from '../helpers/publish-readings.js'
import { TcpProxy } from '../helpers/tcp-proxy.js'
import { until } from '../helpers/until.js'

const RECORDS = 500

const configOf = (nodeId: string, nextPort: number) => `
node_id = "${nodeId}"
[[stream]]
name = "telemetry"
topics = ["#"]
[[upstream]]
name = "next"
type = "sluice"
url = "mqtt://127.0.0.1:${nextPort}"
streams = ["telemetry", "*.telemetry"]
reconnect_min_ms = 20
reconnect_max_ms = 200
`

interface Upstream {
  readonly delivered_total: number
  readonly backlog_records: number
}

const circle = (ids: readonly string[]) => async () => {
  const links: TcpProxy[] = []
  for (const _ of ids) links.push(await TcpProxy.start(1))
  const nodes: NodeProcess[] = []
  for (const [i, id] of ids.entries())
    nodes.push(await NodeProcess.start({ config: configOf(id, links[(i + 1) % ids.length].port) }))
  for (const [i, link] of links.entries()) link.targetPort = nodes[i].mqttPort

  const everywhere = async (count: number): Promise<void> => {
    for (const [i, node] of nodes.entries())
      for (const [k, origin] of ids.entries()) {
        if (i === k) continue
        await caughtUp([nodes[k], 'telemetry'], [node, `${origin}.telemetry`])
        assert.is(await assertSame([nodes[k], 'telemetry'], [node, `${origin}.telemetry`]), count)
      }
  }
  const upstreamOf = (node: NodeProcess) => () => getJson<Upstream>(`${node.httpUrl}/v1/upstreams/next`)
  await Promise.all(nodes.map((node) => publishReadings(node, RECORDS)))
  await everywhere(RECORDS)
  // Once more, over new connections: a node that has its own stream offered to it must know it again.
  for (const link of links) link.cutAll()
  await Promise.all(nodes.map((node) => publishReadings(node, RECORDS, RECORDS)))
  await everywhere(2 * RECORDS)
  for (const [i, node] of nodes.entries()) {
    const { delivered_total: delivered } = await until(
      'nothing waits',
      upstreamOf(node),
      (one) => one.backlog_records === 0,
    )
    // The own stream and those of all others but the next one; after a cut also what was acknowledged unheard.
    const least = 2 * RECORDS * (ids.length - 1)
    assert.ok(delivered <= least, `${ids[i]} has delivered ${delivered}, at most ${least} were to go`)
    assert.is(await streamAt(node, `${ids[i]}.telemetry`), undefined, 'no mirror of the own stream')
    const own = await streamAt(node, 'telemetry')
    assert.is(own?.partitions[0].high_watermark, 2 * RECORDS)
  }
  for (const node of nodes) await node.kill()
  for (const link of links) await link.stop()
}

test('two nodes that forward everything to each other hold both streams, each record once', circle(['a', 'b']))
test('a circle of three nodes ends where it began', circle(['a', 'b', 'c']))

test.run()
