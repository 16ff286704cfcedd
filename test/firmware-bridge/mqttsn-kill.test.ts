// test-run: limit 300 s
// The C client as a process, on a link that loses, doubles and delays datagrams, and a node that is killed again and again.
// `node mqttsn-kill.test.js 100000` for longer.

import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { NodeProcess } from '../helpers/node-process.js'
import { Program } from '../helpers/program.js'
import { type SeededRandom, withSeed } from '../helpers/seeded-random.js'
import { unlessSkipped } from '../helpers/skip.js'
import { readStream } from '../helpers/stream-reader.js'
import { tempDir } from '../helpers/temp-dir.js'
import { freeUdpPort, UdpProxy } from '../helpers/udp-proxy.js'
import { compile, MQTTSN_SOURCES, noCompiler, testSource } from './compile.js'

const withCompiler = unlessSkipped(test, noCompiler)
const MESSAGES = Number(process.argv[2] ?? 300)
const KILLS = process.argv[2] === undefined ? 2 : 10
const BAD_LINK = { loss: 0.05, duplication: 0.05, delay: 0.05, delayMs: 20 }
const KEY = '000102030405060708090a0b0c0d0e0f'
const device = join(tempDir(), 'device')
if (noCompiler === null)
  compile(device, [testSource('sn_device.c'), ...MQTTSN_SOURCES], '-O1', '-DSLUICE_SN_RETRY_MS=80u')

async function publishThroughKills(random: SeededRandom, key: string, entry: string) {
  const udpPort = await freeUdpPort()
  const node = await NodeProcess.start({
    config: `[[firmware]]\nname = "air"\ntype = "mqtt-sn"\nlisten = ["127.0.0.1:${udpPort}"]\nretry_interval = "150ms"\n${entry}`,
  })
  const proxy = await UdpProxy.start(udpPort, BAD_LINK, random)
  const program = new Program(device, [String(proxy.port), 'pump', key, 'publish', 'a', String(MESSAGES)])
  try {
    for (let kill = 1; kill <= KILLS; kill++) {
      const due = Math.floor((MESSAGES * kill) / (KILLS + 1))
      await program.waitFor(new RegExp(`^A a-${due}$`, 'm'), 'stdout', 250_000)
      await node.kill('SIGKILL')
      proxy.forgetPorts()
      await node.startAgain()
    }
    assert.is((await program.ended).code, 0, program.stderr)
    const stored = (await readStream(node, 'mqtt')).map(({ payload }) => payload)
    assert.ok(proxy.lost > MESSAGES / 20 && proxy.doubled > MESSAGES / 20 && proxy.delayed > MESSAGES / 20)
    return stored
  } finally {
    await program.stop('SIGKILL')
    proxy.close()
    await node.kill('SIGKILL')
  }
}

const everything = Array.from({ length: MESSAGES }, (_, i) => `a-${i + 1}`)

withCompiler(
  'under the seal every message is stored once and in order, whatever the link does and however often the node is killed',
  () =>
    withSeed(async (random) => {
      const entry = `authentication = true\n[[firmware.device]]\nid = "pump"\nkey = "${KEY}"\n`
      assert.equal(await publishThroughKills(random, KEY, entry), everything)
    }),
)

withCompiler('without a key too, but for the first messages, of which the ids say nothing yet', () =>
  withSeed(async (random) => {
    const stored = await publishThroughKills(random, '-', '')
    const tail = stored.slice(stored.lastIndexOf('a-2'))
    assert.equal([...new Set(stored)], everything, 'none is lost')
    // Copies that the network makes have no DUP: they are known once the client has counted to 64.
    assert.equal(
      tail.filter((value, i) => tail.indexOf(value) !== i && Number(value.slice(2)) > 70),
      [],
    )
  }),
)

test.run()
