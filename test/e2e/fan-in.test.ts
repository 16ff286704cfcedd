// test-run: limit 180 s
// A hundred gateways bring their records to one site at the same time: what the site needs in memory and in open files does not grow with what
// each of them has brought. The long run looks at memory over 800 MB, since the heap grows until about 300 MB have passed through it:
//
//   npm run build && SLUICE_FAN_IN_ROUNDS=100 SLUICE_FAN_IN_VALUE=4000 node dist/test/e2e/fan-in.test.js

import { readdirSync } from 'node:fs'
import mqtt from 'mqtt'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Offset } from '../../src/record/record.js'
import { encodeRecordBatch } from '../../src/record/record-batch-builder.js'
import { decodeDown, encodeUp } from '../../src/replication/node-codec.js'
import { type DownMessage, PROTOCOL_VERSION, UP_TOPIC, type UpMessage } from '../../src/replication/node-protocol.js'
import { getJson } from '../helpers/http.js'
import { MemoryWatch } from '../helpers/memory-watch.js'
import type { StreamAnswer } from '../helpers/mirror-check.js'
import { NodeProcess } from '../helpers/node-process.js'
import { recordOf } from '../helpers/open-log.js'

const GATEWAYS = 100
const ROUNDS = Number(process.env['SLUICE_FAN_IN_ROUNDS'] ?? 4)
const RECORDS = 20
const VALUE_BYTES = Number(process.env['SLUICE_FAN_IN_VALUE'] ?? 100)
/** Besides a socket each: LevelDBs of the one log that all mirrors of a stream name share, of state/, and what Node has open. */
const MAX_FILES_BESIDE_SOCKETS = 80
/** Frames under way, a quarter of a megabyte for each connection's reading, and the heap. */
const MAX_GROWTH_MB = 100
/** Between the first third of what is brought and the last, in the middle of each. */
const MAX_LATER_GROWTH_MB = 24
const LONG_RUN_ROUNDS = 100
/** So that many segments are filled and few may be open. */
const SMALL_SEGMENTS = '[storage]\nsegment_size = "2MB"\n'

/** The sender's part of the protocol, a question at a time. */
class Gateway {
  private answered: (message: DownMessage) => void = () => {}

  private constructor(private readonly client: mqtt.MqttClient) {
    client.on('message', (_topic, payload) => this.answered(decodeDown(payload)))
  }

  static async connect(site: NodeProcess, nodeId: string): Promise<Gateway> {
    const clientId = `sluice-${nodeId}-cloud`
    const gateway = new Gateway(await mqtt.connectAsync(site.mqttUrl, { clientId, reconnectPeriod: 0 }))
    const [current, next] = [Buffer.alloc(16, nodeId), Buffer.alloc(16, `${nodeId}'`)]
    const welcome = await gateway.say({ type: 'hello', version: PROTOCOL_VERSION, nodeId, current, next })
    assert.is(welcome.type, 'welcome')
    const partitions = [{ start: 0, cursor: 0, end: ROUNDS * RECORDS, epoch: 0, tip: null }]
    const opened = await gateway.say({
      type: 'open',
      lane: 0,
      origin: nodeId,
      stream: 'telemetry',
      fresh: false,
      partitions,
    })
    assert.is(opened.type, 'opened')
    return gateway
  }

  /** Resolves once the site has answered for it. */
  async bring(round: number): Promise<void> {
    const value = `${round} `.padEnd(VALUE_BYTES, '.')
    const records = Array.from({ length: RECORDS }, () => recordOf(value))
    const batches = [encodeRecordBatch((round * RECORDS) as Offset, records, 0)]
    const answer = await this.say({ type: 'frame', lane: 0, gaps: [], batches })
    assert.equal(answer, { type: 'ack', acks: [{ lane: 0, epoch: 0, next: (round + 1) * RECORDS }] })
  }

  end(): Promise<void> {
    return this.client.endAsync()
  }

  private say(message: UpMessage): Promise<DownMessage> {
    const answer = new Promise<DownMessage>((resolve) => {
      this.answered = resolve
    })
    this.client.publish(UP_TOPIC, encodeUp(message), { qos: 1 })
    return answer
  }
}

const median = (numbers: readonly number[]): number => [...numbers].sort((a, b) => a - b)[numbers.length >> 1]

const openFiles = (node: NodeProcess): number => readdirSync(`/proc/${node.pid}/fd`).length

test(`${GATEWAYS} gateways at once have what they bring stored, in bounded memory and few open files`, async () => {
  const site = await NodeProcess.start({
    config: `node_id = "site"\n${SMALL_SEGMENTS}[mqtt]\nmax_connection_rate = 1000\n`,
  })
  const names = Array.from({ length: GATEWAYS }, (_, i) => `gw-${i}`)
  const gateways = await Promise.all(names.map((name) => Gateway.connect(site, name)))
  const memory = new MemoryWatch(() => site.pid)
  const before = memory.look()
  const atRound: number[] = []
  let files = 0
  for (let round = 0; round < ROUNDS; round++) {
    await Promise.all(gateways.map((gateway) => gateway.bring(round)))
    files = Math.max(files, openFiles(site))
    atRound.push(memory.look())
  }
  memory.end()
  const growth = memory.peakMb - before
  const third = Math.ceil(ROUNDS / 3)
  const later = median(atRound.slice(-third)) - median(atRound.slice(0, third))
  const broughtMb = (GATEWAYS * ROUNDS * RECORDS * VALUE_BYTES) / 1e6
  console.log(
    `${broughtMb} MB brought: RssAnon ${before.toFixed(0)} MB, ${growth.toFixed(1)} MB more at most, ${later.toFixed(1)} MB more in the last ` +
      `third than in the first; ${files} open files`,
  )
  assert.ok(growth < MAX_GROWTH_MB, `RssAnon grew by ${growth.toFixed(1)} MB`)
  if (ROUNDS >= LONG_RUN_ROUNDS)
    assert.ok(later < MAX_LATER_GROWTH_MB, `RssAnon grew by ${later.toFixed(1)} MB with what was brought`)
  assert.ok(files <= GATEWAYS + MAX_FILES_BESIDE_SOCKETS, `${files} open files`)
  const { streams } = await getJson<{ streams: StreamAnswer[] }>(`${site.httpUrl}/v1/streams`)
  const ends = new Map(streams.map(({ name, partitions }) => [name, partitions.map((one) => one.high_watermark)]))
  for (const name of names) assert.equal(ends.get(`${name}.telemetry`), [ROUNDS * RECORDS])
  await Promise.all(gateways.map((gateway) => gateway.end()))
  await site.kill()
})

test.run()
