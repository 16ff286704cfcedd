// test-run: limit 300 s
// The C client as a process, on a link that damages, loses, doubles and delays datagrams; it and the node are killed again and again.
// `node mqttsn-kill.test.js 100000` for longer: 20 devices, 20 kills of one, 10 of the node.

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
/** Each has one message on its way at a time: several fill the link. */
const DEVICES = IS_LONG ? 20 : 2
const EACH = Math.ceil(Number(process.argv[2] ?? 150) / DEVICES)
const MESSAGES = EACH * DEVICES
/** It takes 64 without a kill to know how a client counts. */
const KEYLESS_MESSAGES = 180
/** Two kills of the device for each of the node. */
const VICTIMS = Array.from({ length: IS_LONG ? 30 : 3 }, (_, i) => (i % 3 === 1 ? 'node' : 'device'))
const BAD_LINK = { loss: 0.02, duplication: 0.05, delay: 0.05, delayMs: 10, damage: 0.05 }
const KEY = '000102030405060708090a0b0c0d0e0f'
const WAIT_MS = IS_LONG ? 600_000 : 120_000
const folder = tempDir()
/**
 * One that gives up soon, and one that does not, however long the machine stalls: of a client without a key that connects anew, the copies that come
 * late are not known.
 */
const devices = {
  keep: ['-DSLUICE_SN_RETRY_MS=25u'],
  publish: ['-DSLUICE_SN_RETRY_MS=80u', '-DSLUICE_SN_MAX_RETRIES=100'],
} as const
if (noCompiler === null)
  for (const [name, flags] of Object.entries(devices))
    compile(join(folder, name), [testSource('sn_device.c'), ...MQTTSN_SOURCES], '-O1', ...flags)

interface Bench {
  readonly node: NodeProcess
  readonly proxy: UdpProxy
  start(mode: keyof typeof devices, id: string, last: number, key: string, ...flash: string[]): Program
}

async function withBench(random: SeededRandom, entry: string, body: (bench: Bench) => Promise<void>): Promise<void> {
  const udpPort = await freeUdpPort()
  const node = await NodeProcess.start({
    config: `[[firmware]]\nname = "air"\ntype = "mqtt-sn"\nlisten = ["127.0.0.1:${udpPort}"]\nretry_interval = "150ms"\nmax_packet_rate_per_address = 100000\n${entry}`,
  })
  // Without a seal, damage is left to UDP's own checksum: such a datagram does not arrive.
  const proxy = await UdpProxy.start(udpPort, entry === '' ? { ...BAD_LINK, damage: 0, loss: 0.07 } : BAD_LINK, random)
  const start: Bench['start'] = (mode, id, last, key, ...flash) =>
    watched(new Program(join(folder, mode), [String(proxy.port), id, key, mode, 'a', String(last), ...flash]))
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
    // A device that is done has said something else since.
    const last = [...output.slice(-200).matchAll(/^A a-(\d+)\n/gm)].at(-1)
    return last !== undefined && Number(last[1]) >= this.number ? last : null
  }
}

withCompiler(
  'a device with a key that keeps its numbers loses nothing and doubles nothing, whatever the link does and whoever is killed',
  () =>
    withSeed(async (random) => {
      const ids = Array.from({ length: DEVICES }, (_, i) => `pump-${i}`)
      const known = ids.map((id) => `[[firmware.device]]\nid = "${id}"\nkey = "${KEY}"\n`)
      await withBench(random, `authentication = true\n${known.join('')}`, async (bench) => {
        const flashes = ids.map(() => join(tempDir(), 'flash'))
        const start = (i: number) => bench.start('keep', ids[i], EACH, KEY, flashes[i])
        const programs = ids.map((_, i) => start(i))
        for (const [step, victim] of VICTIMS.entries()) {
          const i = step % DEVICES
          await programs[i].waitFor(new Told(Math.floor((EACH * (step + 1)) / (VICTIMS.length + 1))), 'stdout', WAIT_MS)
          if (victim === 'node') await killNode(bench)
          else {
            await programs[i].stop('SIGKILL')
            programs[i] = start(i)
          }
        }
        for (const program of programs) assert.is((await program.ended).code, 0, program.stderr)
        const stored = await readStream(bench.node, 'mqtt')
        for (const id of ids)
          assert.equal(
            stored.filter(({ mqttTopic }) => mqttTopic.startsWith(`devices/${id}/`)).map(({ payload }) => payload),
            numbered('a', 1, EACH),
            id,
          )
        assert.is(stored.length, MESSAGES)
        const { lost, damaged, doubled, delayed } = bench.proxy
        assert.ok(damaged > MESSAGES / 20 && doubled > MESSAGES / 20 && delayed > MESSAGES / 20)
        const { devices } = await getJson<{ devices: { published: number; resends: number }[] }>(
          `${bench.node.httpUrl}/v1/devices`,
        )
        const total = (what: 'published' | 'resends') => devices.reduce((sum, row) => sum + row[what], 0)
        console.log(
          `  ${MESSAGES} messages of ${DEVICES} devices, ${VICTIMS.length} kills; datagrams: ${damaged} damaged, ${lost} lost, ${doubled} doubled, ${delayed} delayed; ` +
            `at the node since its last start: ${total('published')} published, ${total('resends')} resends`,
        )
      })
    }),
)

withCompiler('without a key too, but for the first messages, of which the ids say nothing yet', () =>
  withSeed((random) =>
    withBench(random, '', async (bench) => {
      const program = bench.start('publish', 'pump', KEYLESS_MESSAGES, '-')
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
