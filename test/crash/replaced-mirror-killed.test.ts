// test-run: limit 240 s
// A gateway is set up anew while the site that works on its records is killed again and again: the queue delivers all of the new mirror, whatever it
// had done of the former one.

import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { requestJson } from '../helpers/http.js'
import { caughtUp, gatewayConfig, lastError } from '../helpers/mirror-check.js'
import { NodeProcess } from '../helpers/node-process.js'
import { publishReadings } from '../helpers/publish-readings.js'
import { until } from '../helpers/until.js'

const MIRROR = 'gw-17.telemetry'
const BEFORE = 400
const DONE_BEFORE = 350
const AFTER = 300

interface Message {
  readonly partition: number
  readonly offset: number
  readonly receipt: string
}

interface Answer {
  readonly messages: readonly Message[]
  readonly stale: readonly string[]
}

async function ask(node: NodeProcess, stream: string, action: string, body: unknown): Promise<Answer> {
  const url = `${node.httpUrl}/v1/queues/${stream}/q/${action}`
  const answer = await requestJson<Answer>(url, { method: 'POST', body })
  assert.is(answer.status, 200, JSON.stringify(answer.body))
  return answer.body
}

/** Takes everything there is, and leaves it unacknowledged. */
async function takeAll(node: NodeProcess, stream: string): Promise<Message[]> {
  const all: Message[] = []
  for (;;) {
    const { messages } = await ask(node, stream, 'receive', { max_messages: 1000, visibility_timeout_ms: 600_000 })
    if (messages.length === 0) return all
    all.push(...messages)
  }
}

const placesOf = (messages: readonly Message[]) =>
  messages.map(({ partition, offset }) => `${partition}/${offset}`).sort()
const receiptsOf = (messages: readonly Message[]) => messages.map(({ receipt }) => receipt)

async function killed(node: NodeProcess): Promise<void> {
  await node.kill('SIGKILL')
  await node.startAgain()
}

test('a queue delivers all of a mirror that takes the place of another, over kills', async () => {
  const site = await NodeProcess.start({ config: 'node_id = "site"\n' })
  const config = gatewayConfig('gw-17', site.mqttPort)
  const former = await NodeProcess.start({ config })
  await publishReadings(former, BEFORE)
  await caughtUp([former, 'telemetry'], [site, MIRROR])
  const taken = await takeAll(site, MIRROR)
  assert.is(taken.length, BEFORE)
  await ask(site, MIRROR, 'ack', { receipts: receiptsOf(taken.slice(0, DONE_BEFORE)) })
  const left = taken.slice(DONE_BEFORE)
  await former.kill('SIGKILL')
  await killed(site)

  const reimaged = await NodeProcess.start({ config })
  await until(
    'it is refused',
    () => lastError(reimaged),
    (error) => /another data directory/.test(error),
  )
  const accepted = await requestJson(`${site.httpUrl}/v1/origins/gw-17/accept`, { method: 'POST', body: {} })
  assert.is(accepted.status, 200)
  const published = publishReadings(reimaged, AFTER)
  for (let kill = 0; kill < 3; kill++) {
    // Whatever of the new mirror there is by then, if anything.
    await ask(site, MIRROR, 'receive', { max_messages: 10, start: 'latest' })
    await killed(site)
  }
  await published
  await caughtUp([reimaged, 'telemetry'], [site, MIRROR])
  assert.equal((await ask(site, MIRROR, 'ack', { receipts: receiptsOf(taken) })).stale.length, BEFORE)
  await killed(site)

  const fresh = await takeAll(site, MIRROR)
  const ends = new Map<number, number>()
  for (const { partition } of fresh) ends.set(partition, (ends.get(partition) ?? 0) + 1)
  const expected = [...ends].flatMap(([partition, count]) =>
    Array.from({ length: count }, (_, i) => `${partition}/${i}`),
  )
  assert.is(fresh.length, AFTER, 'each message of the new mirror, once')
  assert.equal(placesOf(fresh), expected.sort())
  assert.equal(placesOf(await takeAll(site, `${MIRROR}.1`)), placesOf(left), 'what was left of the former one')
  await reimaged.kill()
  await site.kill()
})

test.run()
