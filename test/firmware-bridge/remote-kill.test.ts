// test-run: limit 300 s
// The bridge in a process of its own, beside a node in another: device, bridge and node are killed in turns. `node remote-kill.test.js 20000` for longer.

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { getJson, requestJson } from '../helpers/http.js'
import { NodeProcess, startSluice } from '../helpers/node-process.js'
import { Program } from '../helpers/program.js'
import { type SeededRandom, withSeed } from '../helpers/seeded-random.js'
import { unlessSkipped } from '../helpers/skip.js'
import { readStream } from '../helpers/stream-reader.js'
import { tempDir } from '../helpers/temp-dir.js'
import { freeUdpPort, UdpProxy } from '../helpers/udp-proxy.js'
import { until } from '../helpers/until.js'
import { compile, MQTTSN_SOURCES, noCompiler, testSource } from './compile.js'
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

const MESSAGES = Number(process.argv[2] ?? 400)
const IS_LONG = process.argv[2] !== undefined
const ROUNDS = IS_LONG ? 5 : 1
const SERIAL_VICTIMS = ['device', 'bridge', 'node', 'bridge', ...(IS_LONG ? ['node', 'device'] : [])]
const RADIO_VICTIMS = ['bridge', 'node', ...(IS_LONG ? ['bridge'] : [])]
const KEY = '000102030405060708090a0b0c0d0e0f'
const withLine = unlessSkipped(test, noCompiler ?? noLine)
const withCompiler = unlessSkipped(test, noCompiler)
test.after.each(stopPrograms)

/** @returns how to start it, resolves when it is ready. */
function bridgeFor(node: NodeProcess, entry: string): () => Promise<Program> {
  const config = join(tempDir(), 'bridge.toml')
  writeFileSync(config, entry)
  return async () => {
    const program = watched(startSluice(['bridge', '--url', node.httpUrl, '--name', 'shed', '--config', config]))
    await program.waitFor(/^sluice bridge ready name=shed /m, 'stdout', WAIT_MS)
    return program
  }
}

const publishedAt = (node: NodeProcess, topic: string, value: string) =>
  requestJson(`${node.httpUrl}/v1/streams/devices/records`, { method: 'POST', body: { topic, value } })

withLine('a device behind a bridge elsewhere loses nothing and doubles nothing, whoever is killed', () =>
  withSeed(async (random) => {
    const line = await makeLine(random.below(2 ** 31), DAMAGED_BYTES)
    watched(line.program)
    const node = await NodeProcess.start({ config: '[[stream]]\nname = "devices"\ntopics = ["devices/#"]\n' })
    const startBridge = bridgeFor(node, `[[firmware]]\nname = "line"\nports = "${line.ends[1]}"\n`)
    const startDevice = serialDevice(line.ends[0])
    const flash = join(tempDir(), 'flash')
    let bridge = await startBridge()
    let device = startDevice('f', MESSAGES, flash)
    const steps = Array.from({ length: ROUNDS }, () => SERIAL_VICTIMS).flat()
    let acked = 0
    for (const [step, victim] of steps.entries()) {
      acked = Math.max(acked, ackedTo(device)) + 1 + random.below(Math.floor((1.5 * MESSAGES) / steps.length))
      await device.waitFor(new AckedTo(Math.min(MESSAGES, acked)), 'stdout', WAIT_MS)
      if (step > 0) assert.is((await publishedAt(node, `devices/pump-7/cmd/${step}`, `c${step}`)).status, 200)
      if (victim === 'device') {
        await device.stop('SIGKILL')
        device = startDevice('f', MESSAGES, flash)
      } else if (victim === 'bridge') {
        await bridge.stop('SIGKILL')
        bridge = await startBridge()
      } else await killNode(node)
    }
    await device.waitFor(/^done /m, 'stdout', WAIT_MS)
    // The last ones, since the device was started for the last time.
    assert.is((await publishedAt(node, 'devices/pump-7/cmd/last', 'clast')).status, 200)
    await device.waitFor(/^M cmd\/last clast$/m, 'stdout', WAIT_MS)
    const stored = await storedAt(node)
    checkLog(numbered('f', 1, MESSAGES), stored)
    assert.equal(stored, numbered('f', 1, MESSAGES))
    await until(
      'the bridge has told the node how its device and its line are',
      () => getJson<Told>(`${node.httpUrl}/v1/devices`),
      ({ devices, lines }) => devices[0]?.line === 'shed.line' && lines[0]?.open === true,
      WAIT_MS,
    )
    await node.kill('SIGKILL')
  }),
)

withCompiler('so does one on a bad radio link, which sends each message again until it is told', () =>
  withSeed(async (random) => {
    const device = join(tempDir(), 'device')
    compile(device, [testSource('sn_device.c'), ...MQTTSN_SOURCES], '-O1', '-DSLUICE_SN_RETRY_MS=80u')
    const count = Math.ceil(MESSAGES / 4)
    const udpPort = await freeUdpPort()
    const node = await NodeProcess.start()
    const listen = `listen = ["127.0.0.1:${udpPort}"]\nretry_interval = "150ms"\nauthentication = true\n`
    const startBridge = bridgeFor(
      node,
      `[[firmware]]\nname = "air"\ntype = "mqtt-sn"\n${listen}[[firmware.device]]\nid = "pump"\nkey = "${KEY}"\n`,
    )
    let bridge = await startBridge()
    const proxy = await badLink(udpPort, random)
    const program = watched(new Program(device, [String(proxy.port), 'pump', KEY, 'publish', 'a', String(count)]))
    const steps = Array.from({ length: ROUNDS }, () => RADIO_VICTIMS).flat()
    for (const [step, victim] of steps.entries()) {
      await program.waitFor(
        new RegExp(`^A a-${Math.floor((count * (step + 1)) / (steps.length + 1))}$`, 'm'),
        'stdout',
        WAIT_MS,
      )
      if (victim === 'node') await killNode(node)
      else {
        await bridge.stop('SIGKILL')
        proxy.forgetPorts()
        bridge = await startBridge()
      }
    }
    assert.is((await program.ended).code, 0, program.stderr)
    const stored = (await readStream(node, 'mqtt')).map(({ payload }) => payload)
    assert.equal(stored, numbered('a', 1, count))
    proxy.close()
    await node.kill('SIGKILL')
  }),
)

function badLink(port: number, random: SeededRandom): Promise<UdpProxy> {
  return UdpProxy.start(port, { loss: 0.05, duplication: 0.05, delay: 0.05, delayMs: 20 }, random)
}

interface Told {
  readonly devices: readonly { readonly line: string; readonly connected: boolean }[]
  readonly lines: readonly { readonly open: boolean }[]
}

test.run()
