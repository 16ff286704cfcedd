// The five-minute tour of the README, as a test.
import { setTimeout as wait } from 'node:timers/promises'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { findProgram } from '../helpers/mosquitto.js'
import { NodeProcess, runSluice, startSluice } from '../helpers/node-process.js'
import { runProgram } from '../helpers/program.js'
import { unlessSkipped } from '../helpers/skip.js'

const withMosquittoPub = unlessSkipped(
  test,
  findProgram('mosquitto_pub') === null ? 'mosquitto_pub (Debian: mosquitto-clients) is not installed' : null,
)

const consumeOne = (node: NodeProcess) => [
  'consume',
  'mqtt',
  ...['--group', 'g', '--from', 'earliest', '--count', '1', '--url', node.httpUrl],
]

/** Publishes, consumes, and finds that the second consume waits for what comes next. */
async function tour(node: NodeProcess, publish: (payload: string) => Promise<{ code: number | null; stderr: string }>) {
  const published = await publish('21.5')
  assert.is(published.code, 0, published.stderr)
  const first = await runSluice(consumeOne(node))
  assert.is(first.code, 0, first.stderr)
  assert.match(first.stdout, '21.5')

  const second = startSluice(consumeOne(node))
  const early = await Promise.race([second.ended, wait(1500, 'still waiting')])
  assert.is(early, 'still waiting', `${second.stdout}${second.stderr}`)
  assert.is((await publish('22.75')).code, 0)
  assert.is((await second.ended).code, 0, second.stderr)
  assert.match(second.stdout, '22.75')
  assert.not.match(second.stdout, '21.5')
}

withMosquittoPub(
  'what mosquitto_pub publishes is printed by consume, and the next call waits for the next message',
  async () => {
    const node = await NodeProcess.start()
    const mosquittoPub = ['-h', '127.0.0.1', '-p', String(node.mqttPort), '-t', 'sensors/1/temp', '-q', '1']
    await tour(node, (payload) => runProgram('mosquitto_pub', [...mosquittoPub, '-m', payload]))
    await node.kill()
  },
)

test('what produce publishes is printed by consume, and the next call waits for the next message', async () => {
  const node = await NodeProcess.start()
  const produce = ['produce', '--url', node.httpUrl, '--topic', 'sensors/1/temp', '-q', '1']
  await tour(node, (payload) => runSluice([...produce, '-m', payload]))
  await node.kill()
})

test('a group goes on after a kill -9 where it had stopped', async () => {
  const node = await NodeProcess.start()
  const produce = ['produce', '--url', node.httpUrl, '--topic', 'sensors/1/temp', '-l']
  const produced = await runSluice(produce, { input: 'one\ntwo\nthree\n' })
  assert.is(produced.code, 0, produced.stderr)
  assert.match((await runSluice(consumeOne(node))).stdout, 'one')
  await node.kill('SIGKILL')
  await node.startAgain()
  const next = await runSluice(consumeOne(node))
  assert.is(next.code, 0, next.stderr)
  assert.match(next.stdout, 'two')
  assert.not.match(next.stdout, 'one')
  await node.kill()
})

test.run()
