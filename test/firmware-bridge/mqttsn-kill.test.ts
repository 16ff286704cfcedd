// test-run: limit 300 s
// The C client as a process, on a link that damages, loses, doubles and delays datagrams; it and the node are killed again and again.
// `node mqttsn-kill.test.js 100000` for longer, with 20 kills of the device and 10 of the node.

import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { getJson } from '../helpers/http.js'
import { NodeProcess } from '../helpers/node-process.js'
import { Program } from '../helpers/program.js'
import { type SeededRandom, withSeed } from '../helpers/seeded-random.js'
import { unlessSkipped } from '../helpers/skip.js'
import { readStream } from '../helpers/stream-reader.js'
import { tempDir } from '../helpers/temp-dir.js'
import { freeUdpPort, UdpProxy } from '../helpers/udp-proxy.js'
import { compile, MQTTSN_SOURCES, noCompiler, testSource } from './compile.js'
import { numbered, stopPrograms, watched } from './kill-helpers.js'

const withCompiler = unlessSkipped(test, noCompiler)
test.after.each(stopPrograms)
const IS_LONG = process.argv[2] !== undefined
const MESSAGES = Number(process.argv[2] ?? 150)
/** It takes 64 without a kill to know how a client counts. */
const KEYLESS_MESSAGES = 180
/** Two kills of the device for each of the node. */
const VICTIMS = Array.from({ length: IS_LONG ? 30 : 3 }, (_, i) => (i % 3 === 1 ? 'node' : 'device'))
const BAD_LINK = { loss: 0.02, duplication: 0.05, delay: 0.05, delayMs: 10, damage: 0.05 }
const KEY = '000102030405060708090a0b0c0d0e0f'
const WAIT_MS = IS_LONG ? 600_000 : 120_000
const folder = tempDir()
/** One that gives up soon, and one that does not: of a client without a key that connects anew, the copies that come late are not known. */
const devices = { keep: 25, publish: 80 } as const
if (noCompiler === null)
  for (const [name, retryMs] of Object.entries(devices))
    compile(
      join(folder, name),
      [testSource('sn_device.c'), ...MQTTSN_SOURCES],
      ...['-O1', `-DSLUICE_SN_RETRY_MS=${retryMs}u`],
    )

interface Bench {
  readonly node: NodeProcess
  readonly proxy: UdpProxy
  start(mode: keyof typeof devices, key: string, ...flash: string[]): Program
}

async function withBench(random: SeededRandom, entry: string, body: (bench: Bench) => Promise<void>): Promise<void> {
  const udpPort = await freeUdpPort()
  const node = await NodeProcess.start({
    config: `[[firmware]]\nname = "air"\ntype = "mqtt-sn"\nlisten = ["127.0.0.1:${udpPort}"]\nretry_interval = "150ms"\n${entry}`,
  })
  // Without a seal, damage is left to UDP's own checksum: such a datagram does not arrive.
  const proxy = await UdpProxy.start(udpPort, entry === '' ? { ...BAD_LINK, damage: 0, loss: 0.07 } : BAD_LINK, random)
  const start: Bench['start'] = (mode, key, ...flash) =>
    watched(
      new Program(join(folder, mode), [
        String(proxy.port),
        'pump',
        key,
        mode,
        'a',
        String(key === '-' ? KEYLESS_MESSAGES : MESSAGES),
        ...flash,
      ]),
    )
  try {
    await body({ node, proxy, start })
  } finally {
    await stopPrograms()
    proxy.close()
    await node.kill('SIGKILL')
  }
}

async function killNode({ node, proxy }: Bench): Promise<void> {
  await node.kill('SIGKILL')
  proxy.forgetPorts()
  await node.startAgain()
}

const storedAt = async (node: NodeProcess) => (await readStream(node, 'mqtt')).map(({ payload }) => payload)

/** Matches once the device has been told of message `number`, or a later one. */
class Told extends RegExp {
  constructor(private readonly number: number) {
    super(`A a-${number} or later`)
  }
  override exec(output: string): RegExpExecArray | null {
    const last = /\nA a-(\d+)\n$/.exec(`\n${output.slice(-60)}`)
    return last !== null && Number(last[1]) >= this.number ? last : null
  }
}

withCompiler(
  'a device with a key that keeps its numbers loses nothing and doubles nothing, whatever the link does and whoever is killed',
  () =>
    withSeed(async (random) => {
      const entry = `authentication = true\n[[firmware.device]]\nid = "pump"\nkey = "${KEY}"\n`
      await withBench(random, entry, async (bench) => {
        const flash = join(tempDir(), 'flash')
        const start = () => bench.start('keep', KEY, flash)
        let program = start()
        for (const [step, victim] of VICTIMS.entries()) {
          await program.waitFor(new Told(Math.floor((MESSAGES * (step + 1)) / (VICTIMS.length + 1))), 'stdout', WAIT_MS)
          if (victim === 'node') await killNode(bench)
          else {
            await program.stop('SIGKILL')
            program = start()
          }
        }
        assert.is((await program.ended).code, 0, program.stderr)
        assert.equal(await storedAt(bench.node), numbered('a', 1, MESSAGES))
        const { lost, damaged, doubled, delayed } = bench.proxy
        assert.ok(damaged > MESSAGES / 20 && doubled > MESSAGES / 20 && delayed > MESSAGES / 20)
        const { devices } = await getJson<{ devices: { published: number; resends: number }[] }>(
          `${bench.node.httpUrl}/v1/devices`,
        )
        const [{ published, resends }] = devices
        console.log(
          `  ${MESSAGES} messages, ${VICTIMS.length} kills; datagrams: ${damaged} damaged, ${lost} lost, ${doubled} doubled, ${delayed} delayed; ` +
            `at the node: ${published} published, ${resends} resends`,
        )
      })
    }),
)

withCompiler('without a key too, but for the first messages, of which the ids say nothing yet', () =>
  withSeed((random) =>
    withBench(random, '', async (bench) => {
      const program = bench.start('publish', '-')
      await program.waitFor(new Told(KEYLESS_MESSAGES / 2), 'stdout', WAIT_MS)
      await killNode(bench)
      assert.is((await program.ended).code, 0, program.stderr)
      const stored = await storedAt(bench.node)
      const tail = stored.slice(stored.lastIndexOf('a-2'))
      assert.equal([...new Set(stored)], numbered('a', 1, KEYLESS_MESSAGES), 'none is lost')
      // Copies that the network makes have no DUP: they are known once the client has counted to 64.
      assert.equal(
        tail.filter((value, i) => tail.indexOf(value) !== i && Number(value.slice(2)) > 70),
        [],
      )
    }),
  ),
)

test.run()
