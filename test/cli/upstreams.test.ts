import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { silentLogger } from '../../src/base/logger.js'
import { HttpServer } from '../../src/http/http-server.js'
import { upstreamRoutes } from '../../src/http/routes/upstreams.js'
import { MiniBroker } from '../helpers/mini-broker.js'
import { UpstreamBench, upstreamTo } from '../replication/upstream-bench.js'
import { FakeSignals, fakeNode, type Ran, type RunOptions, runCli } from './cli-helper.js'

const test = suite('sluice upstreams')
let bench: UpstreamBench
let broker: MiniBroker
let server: HttpServer
let run: (args: string[], options?: RunOptions) => Promise<Ran>

test.before.each(async () => {
  bench = await UpstreamBench.open()
  broker = await MiniBroker.start()
  const upstreams = bench.start(upstreamTo(broker.port, { reconnectMaxMs: 10_000, reconnectMinMs: 10_000 }))
  const routes = upstreamRoutes({ upstreams })
  server = await HttpServer.start({ listen: ['127.0.0.1:0'], routes, logger: silentLogger })
  run = (args, options) => runCli(['upstreams', ...args, '--url', server.addresses[0]], options)
})
test.after.each(async () => {
  await server.stop()
  await bench.close()
  await broker.stop()
})

test('shows each upstream in a row', async () => {
  await bench.write(1234)
  await bench.drained()
  const { code, stdout, stderr } = await run([])
  assert.equal([code, stderr], [0, ''])
  const [title, row, ...more] = stdout.trimEnd().split('\n')
  assert.match(title, /^NAME {3}STATE +BACKLOG +LOST +RATE +DRAINED IN +BYTES +OLDEST WAITING +CONNECTED SINCE$/)
  assert.match(row, /^cloud {2}idle +0 +0 +[\d,.]+\/s +now +0 B +- +\d{4}-\d\d-\d\d \S+Z$/)
  assert.equal(more, [])
})

test('shows one upstream with its partitions, and says in words what is wrong', async () => {
  await broker.stop()
  await bench.write(1234)
  while (bench.status().state !== 'waiting') await new Promise((resolve) => setTimeout(resolve, 5))
  const { code, stdout, stderr } = await run(['cloud'])
  assert.is(code, 0)
  assert.match(stdout, /cloud {2}waiting +1,234 +0 +0\/s +- /)
  assert.match(stdout, /telemetry +0 +0 +1234 +1,234 +-\n$/)
  assert.match(stderr, /^cloud: .+; next attempt in \S+, at mqtt:\/\/127\.0\.0\.1:\d+$/m)
  assert.is((await run(['sky'])).code, 1)
  broker = await MiniBroker.start()
})

test('pauses, resumes and rewinds', async () => {
  await bench.write(20)
  await bench.drained()
  assert.equal(await run(['cloud', 'pause']), { code: 0, stdout: '', stderr: 'cloud: paused.\n' })
  const tried = await run(['cloud', 'rewind', '--stream', 'telemetry', '--to-offset', '5', '--dry-run'])
  assert.equal(tried, { code: 0, stdout: '', stderr: 'telemetry/0: would send again from 5 on (is at 20).\n' })
  const back = await run(['cloud', 'rewind', '--stream', 'telemetry', '--to-offset', '5'])
  assert.equal(back, { code: 0, stdout: '', stderr: 'telemetry/0: sends again from 5 on (was at 20).\n' })
  const again = await run(['cloud', 'rewind', '--stream', 'telemetry', '--to-datetime', '2999-01-01'])
  assert.match(again.stderr, /Nothing to send again/)
  assert.equal(await run(['cloud', 'resume']), { code: 0, stdout: '', stderr: 'cloud: resumed.\n' })
  await bench.drained()
  assert.is(broker.received.length, 35)
  const early = await run(['cloud', 'rewind', '--stream', 'telemetry', '--to-datetime', '2001-01-01', '--json'])
  assert.equal(JSON.parse(early.stdout), { stream: 'telemetry', partition: 0, from_offset: 20, to_offset: 0 })
})

test('misuse is told apart from failure', async () => {
  for (const args of [
    ['cloud', 'stop'],
    ['cloud', 'rewind', '--stream', 'telemetry'],
    ['cloud', 'rewind', '--to-offset', '1'],
    ['cloud', 'rewind', '--stream', 'telemetry', '--to-offset', '1', '--to-datetime', '1'],
    ['cloud', 'rewind', '--stream', 'telemetry', '--to-datetime', 'yesterday'],
    ['cloud', 'pause', '--watch'],
    ['cloud', '--to-offset', '1'],
  ])
    assert.is((await run(args)).code, 2, args.join(' '))
  const beyond = await run(['cloud', 'rewind', '--stream', 'telemetry', '--to-offset', '99'])
  assert.is(beyond.code, 1)
  assert.match(beyond.stderr, /holds offsets from 0 up to 0, not 99/)
})

test('--watch shows it again until it is interrupted', async () => {
  const signals = new FakeSignals()
  let shown = 0
  const { code, stdout } = await run(['--watch', '--json'], {
    signals,
    onStdout: () => {
      shown += 1
      if (shown === 2) signals.interrupt()
    },
  })
  assert.is(code, 0)
  const names = stdout.trim().split('\n')
  assert.equal(
    names.map((line) => JSON.parse(line).name),
    ['cloud', 'cloud'],
  )
})

test('says so when no upstream is configured', async () => {
  const node = await fakeNode(200, { upstreams: [] })
  const { code, stdout, stderr } = await runCli(['upstreams', '--url', node.url])
  assert.equal({ code, stdout, stderr }, { code: 0, stdout: '', stderr: 'No upstream is configured.\n' })
  await node.close()
})

test.run()
