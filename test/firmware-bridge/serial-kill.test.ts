// test-run: limit 300 s
// The C client as a process on a noisy line, a node as another, both killed again and again. `node serial-kill.test.js 100000` for longer.

import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { NodeProcess } from '../helpers/node-process.js'
import { Program } from '../helpers/program.js'
import { type SeededRandom, withSeed } from '../helpers/seeded-random.js'
import { unlessSkipped } from '../helpers/skip.js'
import { readStream } from '../helpers/stream-reader.js'
import { tempDir } from '../helpers/temp-dir.js'
import { CLIENT_SOURCE, compile, noCompiler, testSource } from './compile.js'
import { makeLine, noLine } from './line.js'

const MESSAGES = Number(process.argv[2] ?? 3000)
const STEPS = MESSAGES > 10_000 ? 30 : 9
/** Frames here have some 25 bytes: one in twenty is damaged. */
const DAMAGED_BYTES = 0.002
const withLine = unlessSkipped(test, noCompiler ?? noLine)

const running = new Set<Program>()
test.after.each(async () => {
  for (const program of running) await program.stop('SIGKILL')
  running.clear()
})

function run(command: string, args: readonly string[]): Program {
  const program = new Program(command, args)
  running.add(program)
  return program
}

interface Bench {
  readonly devicePath: string
  readonly program: string
  readonly node: NodeProcess
}

async function makeBench(random: SeededRandom): Promise<Bench> {
  const folder = tempDir()
  const program = join(folder, 'device')
  compile(program, [testSource('device.c'), CLIENT_SOURCE], '-DSLUICE_RETRY_MS=40', '-DSLUICE_WINDOW=8')
  const line = await makeLine(random.below(2 ** 31), DAMAGED_BYTES)
  running.add(line.program)
  const [devicePath, nodePath] = line.ends
  const config = `[[stream]]\nname = "devices"\ntopics = ["devices/#"]\n[[firmware]]\nname = "line"\nports = "${nodePath}"\n`
  return { devicePath, program, node: await NodeProcess.start({ config }) }
}

async function killNode(node: NodeProcess): Promise<void> {
  await node.kill('SIGKILL')
  await node.startAgain()
}

async function storedAt(node: NodeProcess): Promise<string[]> {
  const messages = await readStream(node, 'devices')
  assert.ok(messages.every(({ mqttTopic }) => mqttTopic === 'devices/pump-7/m'))
  return messages.map(({ payload }) => payload)
}

const ackedBy = (device: Program): string[] => [...device.stdout.matchAll(/^A (\S+)$/gm)].map(([, message]) => message)

/** Resolves once the device has been acknowledged `count` more messages, or has ended. */
async function more(device: Program, count: number): Promise<void> {
  const lines = `(?:A [^\\n]*\\n){${ackedBy(device).length + count}}`
  await Promise.race([device.waitFor(new RegExp(lines), 'stdout', 60_000), device.ended])
}

function checkLog(acked: Iterable<string>, stored: readonly string[]): void {
  const different = new Set(stored)
  assert.is(stored.length - different.size, 0, 'duplicates in the log')
  assert.equal(
    [...acked].filter((message) => !different.has(message)),
    [],
    'acknowledged, but not in the log',
  )
}

withLine('a device that keeps its numbers loses nothing and doubles nothing, whoever is killed', () =>
  withSeed(async (random) => {
    const bench = await makeBench(random)
    const state = join(tempDir(), 'flash')
    const start = () => run(bench.program, [bench.devicePath, 'pump-7', 'f', String(MESSAGES), state])
    let device = start()
    const acked = new Set<string>()
    for (let step = 0; step < STEPS; step++) {
      await more(device, 1 + random.below(Math.floor((1.8 * MESSAGES) / STEPS)))
      if (step % 3 === 2) {
        await killNode(bench.node)
      } else {
        await device.stop('SIGKILL')
        for (const message of ackedBy(device)) acked.add(message)
        device = start()
      }
    }
    assert.equal(await device.ended, { code: 0, signal: null })
    for (const message of ackedBy(device)) acked.add(message)
    assert.is(acked.size, MESSAGES)
    const stored = await storedAt(bench.node)
    checkLog(acked, stored)
    assert.equal(
      stored,
      Array.from({ length: MESSAGES }, (_, i) => `f-${i + 1}`),
    )
    await bench.node.kill('SIGKILL')
  }),
)

withLine('a device that forgets everything at each reset is never told of a message that is not stored', () =>
  withSeed(async (random) => {
    const bench = await makeBench(random)
    const acked: string[] = []
    for (let round = 0; round < 6; round++) {
      const device = run(bench.program, [bench.devicePath, 'pump-7', `r${round}`, '100000000', '-'])
      await more(device, 1 + random.below(MESSAGES / 10))
      if (round % 2 === 1) {
        await killNode(bench.node)
        await more(device, 50)
      }
      await device.stop('SIGKILL')
      acked.push(...ackedBy(device))
    }
    checkLog(acked, await storedAt(bench.node))
    await bench.node.kill('SIGKILL')
  }),
)

test.run()
