// What an operator gets wrong, and what a node then says: the cause and the way out on one line, no stack trace, and nothing stored is touched.
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import mqtt from 'mqtt'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { requestJson } from '../helpers/http.js'
import { NodeProcess, runSluice } from '../helpers/node-process.js'
import { tempDir } from '../helpers/temp-dir.js'

interface ErrorBody {
  readonly error: {
    readonly code: string
    readonly message: string
    readonly details: Readonly<Record<string, unknown>>
  }
}

const ANY_PORT = { SLUICE_MQTT_LISTEN: '127.0.0.1:0', SLUICE_HTTP_LISTEN: '127.0.0.1:0' }

let node: NodeProcess
test.before(async () => {
  node = await NodeProcess.start({ config: '[mqtt]\nmax_packet_size = "64KB"\n' })
  await runSluice(['produce', '--url', node.httpUrl, '--topic', 'a/b', '-m', 'kept'])
})
test.after(async () => {
  await node.kill()
})

/** Runs a command that must fail with this exit code and words that name the cause. */
async function failsClearly(
  args: string[],
  code: number,
  names: (string | RegExp)[],
  env: Record<string, string> = ANY_PORT,
) {
  const { code: got, stderr, stdout } = await runSluice(args, { env })
  assert.is(got, code, stderr)
  for (const name of names) assert.match(stderr, name)
  assert.not.match(stderr, /^\s+at .*[:(]\d+/m, 'no stack trace')
  assert.is(stdout, '')
}

async function answersClearly(
  path: string,
  status: number,
  code: string,
  request: { method?: string; body?: unknown } = {},
) {
  const answer = await requestJson<ErrorBody>(`${node.httpUrl}${path}`, request)
  assert.is(answer.status, status, JSON.stringify(answer.body))
  assert.is(answer.body.error.code, code)
  assert.ok(answer.body.error.message.length > 10)
  assert.not.match(answer.body.error.message, /\n/)
  return answer.body.error
}

/** Every file below a folder, with a digest of what is in it. */
function contentsOf(folder: string): Record<string, string> {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
  const digest = (path: string) => createHash('sha256').update(readFileSync(path)).digest('hex')
  return Object.fromEntries(
    files
      .map(({ parentPath, name }) => join(parentPath, name))
      .sort()
      .map((path) => [path, digest(path)]),
  )
}

async function keptIsStillThere() {
  const { stdout, stderr } = await runSluice([
    'consume',
    'mqtt',
    '--url',
    node.httpUrl,
    '--partition',
    '0',
    '--from',
    'earliest',
    '--count',
    '1',
  ])
  assert.match(stdout, 'kept', stderr)
}

test('a taken MQTT port is named, and the running node is not disturbed', async () => {
  const env = { ...ANY_PORT, SLUICE_MQTT_LISTEN: `127.0.0.1:${node.mqttPort}` }
  await failsClearly(['serve', '--data', join(tempDir(), 'd')], 1, [`127.0.0.1:${node.mqttPort}`, /in use|taken/], env)
  await keptIsStillThere()
})

test('a taken HTTP port is named', async () => {
  const env = { ...ANY_PORT, SLUICE_HTTP_LISTEN: `127.0.0.1:${node.httpPort}` }
  await failsClearly(['serve', '--data', join(tempDir(), 'd')], 1, [`127.0.0.1:${node.httpPort}`, /in use|taken/], env)
})

test('a data directory locked by another node is named, and that node goes on', async () => {
  await failsClearly(['serve', '--data', node.dataDir], 1, [node.dataDir, /another|running|lock/])
  await keptIsStillThere()
})

test('a data directory of a newer format is refused and stays as it is', async () => {
  const newer = await NodeProcess.start()
  await runSluice(['produce', '--url', newer.httpUrl, '--topic', 'a/b', '-m', 'from the future'])
  await newer.kill()
  writeFileSync(join(newer.dataDir, 'format'), 'sluice-data 99\n')
  const before = contentsOf(newer.dataDir)
  await failsClearly(['serve', '--data', newer.dataDir], 1, [newer.dataDir, '99', 'newer'])
  assert.equal(contentsOf(newer.dataDir), before)
})

test('a half-written configuration is refused with its line, before any data directory is made', async () => {
  const folder = tempDir()
  const config = join(folder, 'sluice.toml')
  writeFileSync(config, 'data_dir = "data"\n\n[mqtt]\nlisten = ["127.0.0.1:')
  await failsClearly(['serve', '--config', config], 1, ['sluice.toml', /\b4\b/], {})
  // Problems are what `check` is asked for, so they go to its stdout.
  const checked = await runSluice(['check', '--config', config])
  assert.is(checked.code, 1, checked.stderr)
  assert.match(checked.stdout, /sluice\.toml:4\b/)
  assert.not.ok(existsSync(join(folder, 'data')))
})

test('a configuration file that does not exist is named', async () => {
  const config = join(tempDir(), 'absent.toml')
  await failsClearly(['serve', '--config', config], 1, ['absent.toml'])
})

test('a message over the size limit is refused over HTTP with the limit in the answer', async () => {
  const body = { records: [{ topic: 'a/b', value: 'x'.repeat(70_000) }] }
  await answersClearly('/v1/streams/mqtt/records', 413, 'RECORD_TOO_LARGE', { method: 'POST', body })
})

test('a message over the size limit costs its MQTT sender the connection and no one else anything', async () => {
  const bystander = await mqtt.connectAsync(node.mqttUrl, { reconnectPeriod: 0 })
  const sender = await mqtt.connectAsync(node.mqttUrl, { reconnectPeriod: 0 })
  sender.on('error', () => {})
  const closed = new Promise<void>((resolve) => sender.once('close', () => resolve()))
  let acked = false
  sender.publish('a/b', Buffer.alloc(70_000), { qos: 1 }, (error) => {
    acked = !error
  })
  await closed
  assert.not.ok(acked)
  await bystander.publishAsync('a/b', 'still served', { qos: 1 })
  await bystander.endAsync()
})

test('a topic with a wildcard cannot be published to', async () => {
  const body = { records: [{ topic: 'a/#', value: 'x' }] }
  await answersClearly('/v1/streams/mqtt/records', 400, 'INVALID_TOPIC', { method: 'POST', body })
  const { code, stderr } = await runSluice(['produce', '--url', node.httpUrl, '--topic', 'a/+/b', '-m', 'x'])
  assert.ok(code === 1 || code === 2, stderr)
  assert.match(stderr, 'a/+/b')
  assert.not.match(stderr, /^\s+at /m)
})

test('an unknown stream is answered with the names of those there are', async () => {
  const { message } = await answersClearly(
    '/v1/streams/nope/partitions/0/records?offset=0',
    404,
    'UNKNOWN_STREAM_OR_PARTITION',
  )
  assert.match(message, 'mqtt')
  await failsClearly(['consume', 'nope', '--url', node.httpUrl, '--count', '1'], 1, ['nope', 'mqtt'])
})

test('an unknown partition is answered as such', async () => {
  await answersClearly('/v1/streams/mqtt/partitions/7/records?offset=0', 404, 'UNKNOWN_STREAM_OR_PARTITION')
})

test('an offset out of range is answered with the range there is', async () => {
  const path = '/v1/streams/mqtt/partitions/0/records?offset=999999'
  const { details } = await answersClearly(path, 416, 'OFFSET_OUT_OF_RANGE')
  assert.ok('high_watermark' in details && 'log_start_offset' in details, JSON.stringify(details))
  const consume = ['consume', 'mqtt', '--url', node.httpUrl, '--partition', '0', '--from', '999999', '--count', '1']
  await failsClearly(consume, 1, ['999999'])
})

test('a command without a node to talk to says where it looked', async () => {
  await failsClearly(['streams', '--url', 'http://127.0.0.1:1'], 1, ['http://127.0.0.1:1'])
})

test('an unknown option is misuse, and the nearest known one is named', async () => {
  await failsClearly(['serve', '--dta', 'x'], 2, ['--data'])
})

test.run()
