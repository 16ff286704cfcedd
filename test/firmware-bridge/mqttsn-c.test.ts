// The C client: its codec against the shared vectors, its memory safety, its size, and the client as a process over UDP against a real node.

import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Program } from '../helpers/program.js'
import { withSeed } from '../helpers/seeded-random.js'
import { unlessSkipped } from '../helpers/skip.js'
import { tempDir } from '../helpers/temp-dir.js'
import { compile, MQTTSN_SOURCES, noCompiler, testSource } from './compile.js'
import { withBench } from './mqttsn-bench.js'
import { MQTTSN_VECTORS_PATH, type MqttSnVectors } from './mqttsn-vectors.js'

const withCompiler = unlessSkipped(test, noCompiler)
const vectors = JSON.parse(readFileSync(MQTTSN_VECTORS_PATH, 'utf8')) as MqttSnVectors
const SANITIZERS = ['-g', '-fsanitize=address,undefined', '-fno-sanitize-recover=all', '-static-libasan']
const KEY = '000102030405060708090a0b0c0d0e0f'
const folder = tempDir()
const device = join(folder, 'device')

if (noCompiler === null)
  compile(device, [testSource('sn_device.c'), ...MQTTSN_SOURCES], '-DSLUICE_SN_RETRY_MS=300u', ...SANITIZERS)

function answersOf(lines: readonly string[], ...flags: readonly string[]): string[] {
  const program = join(folder, 'vectors')
  compile(program, [testSource('sn_vectors.c'), MQTTSN_SOURCES[1]], '-DSLUICE_SN_MAX_MESSAGE=2000', ...flags)
  const { status, signal, stdout, stderr } = spawnSync(program, { input: `${lines.join('\n')}\n`, encoding: 'utf8' })
  assert.is(status, 0, `${signal} ${stderr}`)
  return stdout.trimEnd().split('\n')
}

withCompiler(
  'the client compiles for size without a warning, with the seal and without, and has no memory of its own',
  () => {
    for (const flags of [[], ['-DSLUICE_SN_AUTH=0']]) {
      const object = join(folder, 'client.o')
      compile(object, [MQTTSN_SOURCES[0]], '-Os', '-c', '-fno-pic', '-fno-pie', ...flags)
      const { stdout } = spawnSync('size', [object], { encoding: 'utf8' })
      const [text, data, bss] = stdout.split('\n')[1].trim().split(/\s+/).map(Number)
      assert.is(data + bss, 0, 'everything is in the struct')
      assert.ok(text < 9000, `${text} bytes of code`)
    }
  },
)

withCompiler('the client reads and writes each vector as it stands, and refuses each bad one', () => {
  const good = vectors.good.filter(({ form }) => form === undefined)
  const wires = answersOf(
    [...good, ...vectors.bad].map(({ wire }) => `V ${wire}`),
    ...SANITIZERS,
  )
  assert.equal(wires, [...good.map(({ wire }) => wire), ...vectors.bad.map(() => 'bad')])
})

withCompiler('any datagrams leave the client alive, with no access out of bounds', () =>
  withSeed((random) => {
    const lines = Array.from({ length: 3 }, () => `Z ${random.below(2 ** 31)} 100000`)
    assert.equal(
      answersOf(lines, ...SANITIZERS),
      lines.map(() => 'alive'),
    )
  }),
)

for (const [how, key] of [
  ['without a key', '-'],
  ['under the seal', KEY],
] as const) {
  const entry = key === '-' ? '' : `authentication = true\n[[firmware.device]]\nid = "pump"\nkey = "${KEY}"\n`

  withCompiler(`the client publishes over UDP, ${how}, and what it is told is stored is stored`, () =>
    withBench(entry, async (bench) => {
      const program = new Program(device, [String(bench.port), 'pump', key, 'publish', 'a', '50'])
      assert.is((await program.ended).code, 0, program.stderr)
      const expected = Array.from({ length: 50 }, (_, i) => `a-${i + 1}`)
      assert.equal(await bench.values(), expected)
      assert.equal(
        program.stdout.split('\n').filter((line) => line.startsWith('A')),
        expected.map((value) => `A ${value}`),
      )
      const [row] = bench.bridge.registry.list()
      assert.equal([row.id, row.kind, row.published, row.rejected], ['pump', 'mqtt-sn', 50, {}])
    }),
  )

  withCompiler(
    `a client that only listens, ${how}, has what comes after a restart of the node, without a word of its own`,
    () =>
      withBench(`retry_interval = "200ms"\n${entry}`, async (bench) => {
        const program = new Program(device, [String(bench.port), 'pump', key, 'listen', 'cmd/#', '1000'])
        await program.waitFor(/^S$/m)
        await (await bench.program()).publishAsync('cmd/a', 'before', { qos: 1 })
        await program.waitFor(/^M cmd\/a before$/m)
        await bench.restart()
        await (await bench.program()).publishAsync('cmd/a', 'after', { qos: 1 })
        await program.waitFor(/^M cmd\/a after$/m, 'stdout', 60_000)
        await program.stop('SIGKILL')
      }),
  )

  withCompiler(`the client subscribes, sleeps and wakes, ${how}, and has everything in order`, () =>
    withBench(entry, async (bench) => {
      const publisher = await bench.program()
      await publisher.publishAsync('cmd/kept', 'retained', { qos: 1, retain: true })
      const program = new Program(device, [String(bench.port), 'pump', key, 'sleep', 'cmd/#', '41'])
      await program.waitFor(/^S$/m)
      await program.waitFor(/^Z$/m)
      for (let i = 0; i < 40; i++) await publisher.publishAsync(`cmd/${i % 3}`, String(i), { qos: 1 })
      program.stdin.write('w')
      assert.is((await program.ended).code, 0, program.stderr)
      const messages = program.stdout.split('\n').filter((line) => line.startsWith('M'))
      assert.equal(messages, ['M cmd/kept retained', ...Array.from({ length: 40 }, (_, i) => `M cmd/${i % 3} ${i}`)])
    }),
  )
}

test.run()
