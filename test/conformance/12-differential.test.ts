// test-run: limit 300 s
// Random sequences of packets do to the node what they do to a real mosquitto, but for the differences that are listed with their reasons
// (differential/known-differences.ts). A long run, of others each time: SLUICE_TEST_SEQUENCES=2000; what has failed, again: SLUICE_TEST_SEED=…
// SLUICE_TEST_SEQUENCES=1.

import { test as uvuTest } from 'uvu'
import * as assert from 'uvu/assert'
import { mosquittoVersion } from '../../scripts/bench/contestants.js'
import { Mosquitto, mosquittoMissing } from '../helpers/mosquitto.js'
import { SeededRandom } from '../helpers/seeded-random.js'
import { unlessSkipped } from '../helpers/skip.js'
import { connectPacket, PINGREQ, RawClient } from '../mqtt/raw-client.js'
import { startFront } from '../mqtt/start-front.js'
import { DIFFERENCES } from './differential/known-differences.js'
import { type Outcome, Party } from './differential/party.js'
import { randomSequence, type Step } from './differential/sequence.js'

const version = mosquittoVersion()
const other = version === '2.0.11' ? null : `mosquitto is ${version}, and the list of differences is of 2.0.11`
const test = unlessSkipped(uvuTest, mosquittoMissing ?? other)
const SEQUENCES = Number(process.env['SLUICE_TEST_SEQUENCES'] ?? 60)
/** A short run is always the same one. */
const SHORT_RUN_SEED = (process.env['SLUICE_TEST_SEED'] ?? process.env['SLUICE_TEST_SEQUENCES']) ? undefined : 1
const STEPS = 40
const CONNECT = 1
const SUBSCRIBE = 8
const UNSUBSCRIBE = 10
/** Sequences at a time: their commits go to disk together. */
const LANES = 8

test(`${SEQUENCES} random sequences of packets bring what they bring from mosquitto`, async () => {
  const { seed } = new SeededRandom(SHORT_RUN_SEED)
  const mosquitto = await Mosquitto.start({ config: ['allow_duplicate_messages true'] })
  const front = await startFront()
  const seen = new Map<string, number>()
  let next = 0
  let steps = 0
  const problems: string[] = []
  const lane = async () => {
    while (next < SEQUENCES && problems.length === 0) {
      const own = seed + next
      next += 1
      const prefix = `${own}.${own}`
      const sequence = randomSequence(new SeededRandom(own), prefix, STEPS)
      const theirs = new Party(mosquitto.port, prefix)
      const ours = new Party(front.port, prefix)
      for (const [i, step] of sequence.entries()) {
        const expected = await theirs.take(step, null)
        const got = await ours.take(step, expected)
        steps += 1
        if (same(expected, got)) {
          if (isHalfDone(step, got)) break
          continue
        }
        const known = DIFFERENCES.find((one) => one.explains(step, expected, got))
        if (known === undefined) problems.push(report(own, sequence.slice(0, i + 1), expected, got))
        else seen.set(known.name, (seen.get(known.name) ?? 0) + 1)
        break
      }
      await Promise.all([theirs.leave(), ours.leave()])
    }
  }
  await Promise.all(Array.from({ length: LANES }, lane))
  await front.stop()
  await mosquitto.kill()
  process.stdout.write(`${steps} steps; known differences: ${JSON.stringify(Object.fromEntries(seen))}\n`)
  if (problems.length > 0) throw new Error(problems.join('\n\n'))
})

/** After some faults over which both close the connection mosquitto is not as it was before (known-differences.ts). */
function isHalfDone(step: Step, outcome: Outcome): boolean {
  if (step.kind !== 'send' || !outcome.get(step.client)?.includes('closed')) return false
  return [CONNECT, SUBSCRIBE, UNSUBSCRIBE].includes(step.bytes[0] >> 4)
}

function same(a: Outcome, b: Outcome): boolean {
  return JSON.stringify([...a]) === JSON.stringify([...b])
}

function report(seed: number, steps: readonly Step[], theirs: Outcome, ours: Outcome): string {
  const lines = steps.map((step, i) => `  ${i + 1}. ${describe(step)}`)
  const parts = [...theirs]
    .filter(([who, said]) => JSON.stringify(said) !== JSON.stringify(ours.get(who)))
    .flatMap(([who, said]) => [
      `  ${who} from mosquitto: ${said.join('; ')}`,
      `  ${who} from the node: ${ours.get(who)?.join('; ')}`,
    ])
  return [`SLUICE_TEST_SEED=${seed} SLUICE_TEST_SEQUENCES=1`, ...lines, ...parts].join('\n')
}

function describe(step: Step): string {
  const who = 'client' in step ? ` ${step.client}` : ''
  const facts = Object.entries(step).filter(([name]) => name !== 'client' && name !== 'kind')
  const words = facts.map(([name, value]) =>
    Buffer.isBuffer(value) ? `${name} ${inWords(value)}` : `${name} ${value}`,
  )
  return `${step.kind}${who}: ${words.join(', ')}`
}

/** Readable bytes as they are, others in hexadecimal. */
function inWords(bytes: Buffer): string {
  return bytes.toString('latin1').replaceAll(/[^!-~]/g, (one) => `<${one.charCodeAt(0).toString(16)}>`)
}

test('the node closes the connection over each example of a difference, and mosquitto does not', async () => {
  const mosquitto = await Mosquitto.start()
  const front = await startFront()
  for (const { name, by, example, level } of DIFFERENCES) {
    if (example === undefined) continue
    assert.ok(await closesOver(front.port, example, level), `${name}: ${by}`)
    assert.not(await closesOver(mosquitto.port, example, level), `mosquitto does, too: ${name}`)
  }
  await front.stop()
  await mosquitto.kill()
})

/** Whether a broker answers a packet by nothing but closing the connection. */
async function closesOver(port: number, bytes: Buffer, level?: 3): Promise<boolean> {
  const isConnect = bytes[0] >> 4 === 1
  const client = await RawClient.open(port)
  if (!isConnect) {
    client.write(connectPacket(level === 3 ? { level, name: 'MQIsdp' } : {}))
    assert.is((await client.next())?.first, 0x20)
  }
  client.write(bytes, isConnect ? [] : PINGREQ)
  const answer = await client.next()
  client.socket.destroy()
  return answer === null
}

uvuTest.run()
