import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { SluiceError } from '../../src/base/errors.js'
import type { Commands } from '../../src/cli/commands.js'
import { type NodeModule, serveCommand } from '../../src/cli/serve.js'
import type { Config } from '../../src/config/schema.js'
import type { RunningNode } from '../../src/node.js'
import { tempDir } from '../helpers/temp-dir.js'
import { FakeSignals, type Ran, runCli } from './cli-helper.js'

const folder = tempDir()

interface Served {
  readonly ran: Promise<Ran>
  readonly signals: FakeSignals
  readonly configs: Config[]
  /** Resolves when the ready line is out. */
  readonly ready: Promise<string>
}

function none(): never {
  throw new Error('not asked for')
}

function serve(
  args: readonly string[],
  node: Partial<RunningNode> | SluiceError = {},
  { env = {}, onStart = () => {} }: { env?: Record<string, string>; onStart?: (signals: FakeSignals) => void } = {},
): Served {
  const signals = new FakeSignals()
  const configs: Config[] = []
  const module: NodeModule = {
    async startNode(config) {
      configs.push(config)
      onStart(signals)
      if (node instanceof SluiceError) throw node
      return {
        nodeId: 'gw-17',
        mqttAddresses: ['mqtt://127.0.0.1:1883', '[::1]:1883'],
        httpAddresses: ['127.0.0.1:7883'],
        reload: async () => {},
        publish: () => ({ durable: Promise.resolve(), duplicate: false }),
        connect: () => none(),
        undeliverable: () => none(),
        table: () => none(),
        showDevices: () => {},
        stop: async () => {},
        failed: new Promise(() => {}),
        ...node,
      }
    },
  }
  const commands: Commands = { serve: async () => ({ command: serveCommand(async () => module) }) }
  let ready: (line: string) => void = () => {}
  const readyLine = new Promise<string>((resolve) => {
    ready = resolve
  })
  const ran = runCli(['serve', '--data', join(folder, 'data'), ...args], { commands, signals, env, onStdout: ready })
  return { ran, signals, configs, ready: readyLine }
}

test('one line on stdout says that the node is ready, and where', async () => {
  const { ran, signals, ready } = serve([])
  const line = `sluice ready node=gw-17 mqtt=mqtt://127.0.0.1:1883,mqtt://[::1]:1883 http=http://127.0.0.1:7883 data=${join(folder, 'data')}\n`
  assert.is(await ready, line)
  signals.interrupt()
  const { code, stdout, stderr } = await ran
  assert.is(code, 0)
  assert.is(stdout, line)
  assert.match(stderr, /INFO +sluice stopping\n.*INFO +sluice stopped/)
})

test('with --json the ready line is JSON', async () => {
  const { ran, signals, ready } = serve(['--json'])
  assert.equal(JSON.parse(await ready), {
    ready: true,
    node: 'gw-17',
    mqtt: ['mqtt://127.0.0.1:1883', 'mqtt://[::1]:1883'],
    http: ['http://127.0.0.1:7883'],
    data: join(folder, 'data'),
  })
  signals.interrupt()
  await ran
})

test('a signal stops the node before the process ends; a second one ends it at once', async () => {
  let release = (): void => {}
  const order: string[] = []
  const stop = (): Promise<void> => {
    order.push('stopping')
    return new Promise((resolve) => {
      release = resolve
    })
  }
  const { ran, signals, ready } = serve([], { stop })
  await ready
  signals.interrupt()
  await new Promise(setImmediate)
  assert.equal(order, ['stopping'])
  assert.equal(signals.exits, [])
  signals.interrupt()
  assert.equal(signals.exits, [130])
  release()
  assert.is((await ran).code, 0)
})

test('a signal during the start is not lost', async () => {
  const order: string[] = []
  const stop = async (): Promise<void> => {
    order.push('stopped')
  }
  const { ran } = serve([], { stop }, { onStart: (signals) => signals.interrupt() })
  assert.is((await ran).code, 0)
  assert.equal(order, ['stopped'])
})

test('a node that cannot go on ends the process with 1 and one line, whether it runs or stops', async () => {
  const failure = new SluiceError('STORAGE_FAILED', 'write to segment 7 failed: EIO')
  const running = await serve([], { failed: Promise.resolve(failure) }).ran
  assert.is(running.code, 1)
  assert.match(running.stderr, /^sluice serve: the node cannot go on: write to segment 7 failed: EIO$/m)
  assert.not.match(running.stderr, /\n {4}at /)

  let fail = (_: Error): void => {}
  const failed = new Promise<Error>((resolve) => {
    fail = resolve
  })
  const stopping = serve([], { failed, stop: () => new Promise(() => {}) })
  await stopping.ready
  stopping.signals.interrupt()
  fail(failure)
  assert.is((await stopping.ran).code, 1)
})

test('a node that cannot start is one line with the way out', async () => {
  const taken = new SluiceError('ADDRESS_IN_USE', '127.0.0.1:1883 is taken; set mqtt.listen')
  const { code, stdout, stderr } = await serve([], taken).ran
  assert.equal(
    { code, stdout, stderr },
    { code: 1, stdout: '', stderr: 'sluice serve: 127.0.0.1:1883 is taken; set mqtt.listen\n' },
  )
})

test('with a bad configuration no node is started, and every problem is told', async () => {
  const file = join(folder, 'bad.toml')
  writeFileSync(file, 'data_dri = "x"\n[mqtt]\nlisten = "0.0.0.0:1883"\n')
  const { ran, configs } = serve(['--config', file])
  const { code, stderr } = await ran
  assert.is(code, 1)
  assert.equal(configs, [])
  assert.match(
    stderr,
    /^sluice serve: the configuration has 2 problems:\n {2}bad\.toml:1: data_dri .*\n {2}bad\.toml:3: mqtt\.listen .*\n$/,
  )
})

test('warnings are told, and the node starts', async () => {
  const file = join(folder, 'warn.toml')
  writeFileSync(file, '[storage]\ndisk_budget = "2MB"\n')
  const { ran, signals, ready } = serve(['--config', file])
  await ready
  signals.interrupt()
  assert.match((await ran).stderr, /^warn\.toml:2: warning: storage\.disk_budget/)
})

test('--data wins, SLUICE_CONFIG names the file, -q and -v set what is logged', async () => {
  const file = join(folder, 'named.toml')
  writeFileSync(file, 'node_id = "from-file"\ndata_dir = "elsewhere"\n')
  const { ran, signals, ready, configs } = serve(['-q'], {}, { env: { SLUICE_CONFIG: file } })
  await ready
  signals.interrupt()
  assert.is((await ran).stderr, '')
  assert.is(configs[0].nodeId, 'from-file')
  assert.is(configs[0].dataDir, join(folder, 'data'))
  assert.is((await serve(['-q', '-v']).ran).code, 2)
})

test.run()
