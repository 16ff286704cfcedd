// test-run: limit 300 s
// The C client as a process on a noisy line, a node as another, both killed again and again. `node serial-kill.test.js 100000` for longer.

import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { getJson, requestJson } from '../helpers/http.js'
import { NodeProcess } from '../helpers/node-process.js'
import type { Program } from '../helpers/program.js'
import { type SeededRandom, withSeed } from '../helpers/seeded-random.js'
import { unlessSkipped } from '../helpers/skip.js'
import { tempDir } from '../helpers/temp-dir.js'
import { noCompiler } from './compile.js'
import {
  AckedTo,
  ackedTo,
  checkLog,
  DAMAGED_BYTES,
  killNode,
  numbered,
  serialDevice,
  stopPrograms,
  storedAt,
  WAIT_MS,
  watched,
} from './kill-helpers.js'
import { makeLine, noLine } from './line.js'

const MESSAGES = Number(process.argv[2] ?? 1200)
const IS_LONG = MESSAGES > 10_000
/** Two kills of the device for each of the node. */
const STEPS = IS_LONG ? 30 : 6
/** Every second one kills the node too. */
const ROUNDS_WITHOUT_FLASH = IS_LONG ? 6 : 4
const COMMANDS_PER_STEP = 3
const withLine = unlessSkipped(test, noCompiler ?? noLine)
test.after.each(stopPrograms)

interface Bench {
  readonly node: NodeProcess
  /** @param flash Where the device keeps its numbers; `-` for one that forgets. */
  device(run: string, last: number, flash: string): Program
}

async function makeBench(random: SeededRandom, key: string): Promise<Bench> {
  const line = await makeLine(random.below(2 ** 31), DAMAGED_BYTES)
  watched(line.program)
  const [devicePath, nodePath] = line.ends
  const authentication =
    key === '-' ? '' : `authentication = true\n[[firmware.device]]\nid = "pump-7"\nkey = "${key}"\n`
  const entry = `[[firmware]]\nname = "line"\nports = "${nodePath}"\n${authentication}`
  return {
    node: await NodeProcess.start({ config: `[[stream]]\nname = "devices"\ntopics = ["devices/#"]\n${entry}` }),
    device: serialDevice(devicePath, key),
  }
}

/** Commands for the device, and which of them have reached it. */
class Commands {
  private readonly sent = new Set<string>()
  private readonly arrived = new Set<string>()

  constructor(private readonly node: NodeProcess) {}

  async send(): Promise<void> {
    const value = `c${this.sent.size + 1}`
    const record = { topic: `devices/pump-7/cmd/${value}`, value }
    const { status } = await requestJson(`${this.node.httpUrl}/v1/streams/devices/records`, {
      method: 'POST',
      body: record,
    })
    assert.is(status, 200)
    this.sent.add(value)
  }

  collect(device: Program): void {
    for (const [, topic, payload] of device.stdout.matchAll(/^M cmd\/(\S+) (\S+)$/gm)) {
      assert.is(topic, payload)
      assert.ok(this.sent.has(payload), payload)
      this.arrived.add(payload)
    }
  }

  async allArrived(device: Program): Promise<void> {
    this.collect(device)
    for (const missing of [...this.sent].filter((command) => !this.arrived.has(command)))
      await device.waitFor(new RegExp(`^M cmd/${missing} ${missing}$`, 'm'), 'stdout', WAIT_MS)
    this.collect(device)
  }
}

async function report(node: NodeProcess, damagedAtDevice: string): Promise<void> {
  const { devices, lines } = await getJson<{
    readonly devices: readonly Record<string, number>[]
    readonly lines: readonly Record<string, number>[]
  }>(`${node.httpUrl}/v1/devices`)
  const damaged = lines[0]?.damaged_frames ?? 0
  const device = devices[0]
  // Killed after the last message, the node may not have heard of the device again.
  const seen =
    device === undefined
      ? 'nothing heard of the device'
      : `${device.published} published, ${device.resends} resends, ${device.gaps} gaps, ${device.delivered} delivered`
  const atNode = `${seen}, ${damaged} frames damaged since its last start`
  console.log(`  ${MESSAGES} messages, ${STEPS} kills; at the node: ${atNode}; at the device: ${damagedAtDevice}`)
}

withLine('a device that keeps its numbers loses nothing and doubles nothing, whoever is killed', () =>
  withSeed(async (random) => {
    const bench = await makeBench(random, '-')
    const flash = join(tempDir(), 'flash')
    const start = () => bench.device('f', MESSAGES, flash)
    let device = start()
    const commands = new Commands(bench.node)
    let acked = 0
    for (let step = 0; step < STEPS; step++) {
      await device.waitFor(
        new AckedTo(Math.min(MESSAGES, acked + 1 + random.below(Math.floor((1.8 * MESSAGES) / STEPS)))),
        'stdout',
        WAIT_MS,
      )
      acked = Math.max(acked, ackedTo(device))
      // Before it has subscribed once there is nobody to keep a message for.
      if (step > 0) for (let i = 0; i < COMMANDS_PER_STEP; i++) await commands.send()
      if (step % 3 === 2) {
        await killNode(bench.node)
      } else {
        await device.stop('SIGKILL')
        commands.collect(device)
        acked = Math.max(acked, ackedTo(device))
        device = start()
      }
    }
    const [, damaged] = await device.waitFor(/^done (\d+)$/m, 'stdout', WAIT_MS)
    await commands.allArrived(device)
    const stored = await storedAt(bench.node)
    checkLog(numbered('f', 1, MESSAGES), stored)
    assert.equal(stored, numbered('f', 1, MESSAGES))
    await report(bench.node, `${damaged} frames damaged since its last reset`)
    await bench.node.kill('SIGKILL')
  }),
)

withLine(
  'a device with a key that forgets everything at each reset is never told of a message that is not stored',
  () =>
    withSeed(async (random) => {
      const bench = await makeBench(random, randomBytes(16).toString('hex'))
      const acked: string[] = []
      for (let round = 0; round < ROUNDS_WITHOUT_FLASH; round++) {
        const device = bench.device(`r${round}`, 100_000_000, '-')
        const first = 1 + random.below(Math.min(MESSAGES, 3000) / 10)
        await device.waitFor(new AckedTo(first), 'stdout', WAIT_MS)
        if (round % 2 === 1) {
          await killNode(bench.node)
          await device.waitFor(new AckedTo(ackedTo(device) + 50), 'stdout', WAIT_MS)
        }
        await device.stop('SIGKILL')
        acked.push(...numbered(`r${round}`, 1, ackedTo(device)))
      }
      checkLog(acked, await storedAt(bench.node))
      await bench.node.kill('SIGKILL')
    }),
)

test.run()
