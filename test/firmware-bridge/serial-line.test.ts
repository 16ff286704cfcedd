import { readdirSync, readlinkSync } from 'node:fs'
import { Duplex } from 'node:stream'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { BridgeNode } from '../../firmware-bridge/devices/bridge-node.js'
import { DeviceRegistry } from '../../firmware-bridge/devices/device-registry.js'
import { DeviceTable } from '../../firmware-bridge/devices/device-table.js'
import { FrameCodec, NO_SESSION } from '../../firmware-bridge/serial/frame.js'
import { startSerialLine } from '../../firmware-bridge/serial/serial-line.js'
import { openTtyPort } from '../../firmware-bridge/serial/tty-port.js'
import { Logger, SluiceError } from '../../src/index.js'
import { unlessSkipped } from '../helpers/skip.js'
import { makeLine, noLine } from './line.js'
import { MemoryTable } from './memory-table.js'

const quiet = new Logger('test', 'error', () => {})
const withLine = unlessSkipped(test, noLine)

function none(): never {
  throw new Error('not asked for')
}

/** A node that takes everything and keeps nothing. */
function nodeWithout(): BridgeNode {
  return {
    publish: () => ({ durable: Promise.resolve(), duplicate: false }),
    connect: () => none(),
    undeliverable: () => none(),
    table: () => new MemoryTable(),
  }
}

function openTerminals(path: string): number {
  return readdirSync('/proc/self/fd').filter((name) => {
    try {
      return readlinkSync(`/proc/self/fd/${name}`) === path
    } catch {
      return false
    }
  }).length
}

function gone(port: Duplex): Promise<void> {
  return new Promise((resolve) => port.once('close', resolve).destroy())
}

withLine('a line that takes nothing holds nobody up, and a closed port leaves nothing open', async () => {
  const { ends, program } = await makeLine(1, 0)
  try {
    const [port, other] = [await openTtyPort(ends[0], 115_200), await openTtyPort(ends[1], 115_200)]
    const arrived = new Promise<string>((resolve) => other.once('data', (chunk) => resolve(String(chunk))))
    port.write('as it is: \r\n')
    assert.is(await arrived, 'as it is: \r\n')
    await gone(other)
    program.signal('SIGSTOP')
    port.write(Buffer.alloc(1_000_000, 1))
    assert.ok(port.writableLength > 900_000, `${port.writableLength} bytes wait`)
    assert.ok(openTerminals(ends[0]) > 0)
    await gone(port)
    while (openTerminals(ends[0]) > 0) await new Promise((resolve) => setImmediate(resolve))
  } finally {
    program.signal('SIGCONT')
    await program.stop('SIGKILL')
  }
})

test('a port that is not there, or goes away, is opened again when it is back', async () => {
  // A line alone keeps no process alive.
  const alive = setInterval(() => {}, 1000)
  const opened: Duplex[] = []
  let wake = (): void => {}
  let attempts = 0
  const registry = await DeviceRegistry.open({ wallMs: () => 0, logger: quiet })
  const line = startSerialLine(
    { name: 'bus', ports: ['/dev/ttyUSB0'], baudRate: 9600, maxInFlight: 8, maxFrameSize: 1024 },
    {
      node: nodeWithout(),
      devices: new DeviceTable({ topicPrefix: '', authenticated: false, devices: [{ id: 'pump' }] }),
      registry,
      logger: quiet,
      lookMs: 1,
      async openPort() {
        if (++attempts % 3 !== 0) throw new SluiceError('NOT_REACHABLE', 'unplugged')
        const port = new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() })
        opened.push(port)
        wake()
        return port
      },
    },
  )
  const plain = { version: 1, device: 'pump', epoch: 0, sequence: 1, receiveWindow: 0, maxFrameBytes: 64 }
  const hello = new FrameCodec('device', NO_SESSION).seal({ type: 'hello', ...plain })
  for (const round of [1, 2]) {
    if (opened.length < round)
      await new Promise<void>((resolve) => {
        wake = resolve
      })
    await new Promise((resolve) => setImmediate(resolve))
    opened[round - 1].push(hello)
    await new Promise((resolve) => setImmediate(resolve))
    assert.is(registry.lines()[0].open, true)
    assert.is(registry.list()[0].connected, true)
    if (round === 1) opened[0].destroy()
  }
  line.stop()
  clearInterval(alive)
  assert.is(opened[1].destroyed, true)
})

withLine('what is no terminal is refused with its name', async () => {
  try {
    await openTtyPort('/dev/null', 9600)
    assert.unreachable()
  } catch (error) {
    assert.ok(error instanceof SluiceError && error.code === 'NOT_REACHABLE', String(error))
    assert.match(error.message, '/dev/null')
  }
})

test.run()
