// Discovery by multicast, in a network namespace of its own: the loopback of most machines carries none.

import { spawnSync } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { unlessSkipped } from '../helpers/skip.js'
import { freeUdpPort } from '../helpers/udp-proxy.js'
import { MqttSnBench } from './mqttsn-bench.js'

const GROUP = '239.77.1.1'
const NETWORK = 'ip link set lo up multicast on && ip route add 239.0.0.0/8 dev lo'
const isInside = process.argv[2] === 'inside'
const noNamespace =
  isInside || spawnSync('unshare', ['-n', 'sh', '-c', NETWORK]).status === 0
    ? null
    : 'a network namespace cannot be made here'

async function discover(): Promise<void> {
  const port = await freeUdpPort()
  const listener = createSocket({ type: 'udp4', reuseAddr: true })
  await new Promise<void>((resolve) => listener.bind(port, '0.0.0.0', resolve))
  listener.addMembership(GROUP)
  const heard: string[] = []
  let onHeard: () => void = () => {}
  listener.on('message', (datagram) => {
    heard.push(datagram.toString('hex'))
    onHeard()
  })
  const arrived = async (hex: string): Promise<void> => {
    while (!heard.includes(hex))
      await new Promise<void>((resolve) => {
        onHeard = resolve
      })
  }
  const entry = `gateway_id = 7\nmulticast = "${GROUP}:${port}"\nadvertise_interval = "1s"\n`
  const bench = await MqttSnBench.start(entry)
  await arrived('0500070001')
  heard.length = 0
  await arrived('0500070001') // again after the interval
  // From a port of its own: what comes to the group's is for all who have bound it.
  const searcher = createSocket('udp4')
  const answer = new Promise<string>((resolve) =>
    searcher.once('message', (datagram) => resolve(datagram.toString('hex'))),
  )
  searcher.send(Buffer.from('030100', 'hex'), port, GROUP)
  assert.is(await answer, '030207', 'SEARCHGW is answered')
  searcher.close()
  listener.close()
  await bench.stop()
}

unlessSkipped(test, noNamespace)(
  'the gateway says to the group that it is there, again and again, and is found in it',
  async () => {
    if (isInside) {
      await discover()
      return
    }
    const command = `${NETWORK} && exec "$0" "$1" inside`
    const { status, stdout, stderr } = spawnSync(
      'unshare',
      ['-n', 'sh', '-c', command, process.execPath, import.meta.filename],
      { encoding: 'utf8', timeout: 60_000 },
    )
    assert.is(status, 0, `${stdout}\n${stderr}`)
  },
)

test.run()
