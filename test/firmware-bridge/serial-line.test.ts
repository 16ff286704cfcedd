import { execFileSync } from 'node:child_process'
import { readdirSync, readlinkSync, rmSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
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
import { eventually } from '../helpers/eventually.js'
import { findProgram } from '../helpers/mosquitto.js'
import { Program } from '../helpers/program.js'
import { errorOf } from '../helpers/rejection.js'
import { unlessSkipped } from '../helpers/skip.js'
import { tempDir } from '../helpers/temp-dir.js'
import { until } from '../helpers/until.js'
import { makeLine, noLine } from './line.js'
import { MemoryTable } from './memory-table.js'

const quiet = new Logger('test', 'error', () => {})
const withLine = unlessSkipped(test, noLine)
const withLock = unlessSkipped(test, noLine ?? (findProgram('flock') === null ? 'flock is not installed' : null))

const VANISHINGS = 8
const HELLO = new FrameCodec('device', NO_SESSION).seal({
  ...{ type: 'hello', version: 1, device: 'pump', epoch: 0, sequence: 1, receiveWindow: 0, maxFrameBytes: 64 },
})

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
    await eventually('nothing is left open', () => openTerminals(ends[0]) === 0)
  } finally {
    program.signal('SIGCONT')
    await program.stop('SIGKILL')
  }
})

test('a port that is not there, or goes away, is opened again when it is back; each reason is said once', async () => {
  // A line alone keeps no process alive.
  const alive = setInterval(() => {}, 1000)
  const opened: Duplex[] = []
  let wake = (): void => {}
  let attempts = 0
  const said: string[] = []
  const logger = new Logger('test', 'warn', (text) => said.push(text))
  const registry = await DeviceRegistry.open({ wallMs: () => 0, logger: quiet })
  const line = startSerialLine(
    { name: 'bus', ports: ['/dev/ttyUSB0'], baudRate: 9600, maxInFlight: 8, maxFrameSize: 1024 },
    {
      node: nodeWithout(),
      devices: new DeviceTable({ topicPrefix: '', authenticated: false, devices: [{ id: 'pump' }] }),
      registry,
      logger,
      lookMs: 1,
      async openPort() {
        if (++attempts % 4 !== 0) throw new SluiceError('NOT_REACHABLE', attempts % 4 === 3 ? 'held' : 'unplugged')
        const port = new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() })
        opened.push(port)
        wake()
        return port
      },
    },
  )
  for (const round of [1, 2]) {
    if (opened.length < round)
      await new Promise<void>((resolve) => {
        wake = resolve
      })
    await new Promise((resolve) => setImmediate(resolve))
    opened[round - 1].push(HELLO)
    await new Promise((resolve) => setImmediate(resolve))
    assert.is(registry.lines()[0].open, true)
    assert.is(registry.list()[0].connected, true)
    if (round === 1) opened[0].destroy()
  }
  line.stop()
  clearInterval(alive)
  assert.is(opened[1].destroyed, true)
  assert.equal(
    said.flatMap((line) => /error="?(\w+)/.exec(line)?.[1] ?? []),
    ['unplugged', 'held', 'unplugged', 'held'],
  )
})

withLine('what is no terminal is refused with its name', async () => {
  const { code, message } = await errorOf(openTtyPort('/dev/null', 9600))
  assert.is(code, 'NOT_REACHABLE')
  assert.match(message, '/dev/null')
})

withLine('a port has the baud rate it is given, and one that stty does not know is named', async () => {
  const { ends, program } = await makeLine(1, 0)
  const port = await openTtyPort(ends[0], 57_600)
  assert.match(execFileSync('stty', ['-F', ends[0]], { encoding: 'utf8' }), 'speed 57600 baud')
  await gone(port)
  assert.match((await errorOf(openTtyPort(ends[1], 12_345))).message, '12345')
  await eventually('what could not be set up is closed', () => openTerminals(ends[1]) === 0)
  await program.stop('SIGKILL')
})

withLine('without stty no port is opened, and what is missing is said; without flock it is not held', async () => {
  const { ends, program } = await makeLine(1, 0)
  const { PATH } = process.env
  const [bin, stty] = [tempDir(), findProgram('stty')]
  try {
    process.env['PATH'] = bin
    assert.match((await errorOf(openTtyPort(ends[0], 9600))).message, /stty is not installed \(apt install/)
    symlinkSync(String(stty), join(bin, 'stty'))
    await gone(await openTtyPort(ends[0], 9600))
  } finally {
    process.env['PATH'] = PATH
  }
  await program.stop('SIGKILL')
})

withLock('a port that another program holds is left to it, and taken once that has ended, however', async () => {
  const { ends, program } = await makeLine(1, 0)
  const other = new Program('flock', ['--no-fork', ends[0], 'sh', '-c', 'echo held; exec sleep 600'])
  await other.waitFor(/^held$/m, 'stdout')
  const { code, message } = await errorOf(openTtyPort(ends[0], 9600))
  assert.is(code, 'NOT_REACHABLE')
  assert.match(message, 'another program holds it')
  await other.stop('SIGKILL')
  const port = await openTtyPort(ends[0], 9600)
  assert.match((await errorOf(openTtyPort(ends[0], 9600))).message, 'another program holds it')
  await gone(port)
  await eventually('the closed port is let go of', () => openTerminals(ends[0]) === 0)
  await gone(await openTtyPort(ends[0], 9600))
  await program.stop('SIGKILL')
})

withLine('a device that vanishes is noticed in whatever it was doing', async () => {
  for (let round = 0; round < VANISHINGS; round++) {
    const { ends, program } = await makeLine(1, 0)
    const [port, device] = [await openTtyPort(ends[0], 115_200), await openTtyPort(ends[1], 115_200)]
    const closed = [port, device].map(
      (end) => new Promise((resolve) => end.once('close', resolve).on('error', () => {})),
    )
    device.resume()
    if (round % 4 > 0) {
      const arrived = new Promise((resolve) => port.once('data', resolve))
      const speak = () => void (device.destroyed || device.write(Buffer.alloc(60, round), () => setImmediate(speak)))
      speak()
      await arrived
      if (round % 4 === 2) port.write(Buffer.alloc(100_000))
      if (round % 4 === 3) port.pause()
    } else port.resume()
    program.signal('SIGKILL')
    if (port.isPaused()) port.resume()
    await Promise.all(closed)
    await eventually(
      'no descriptor is left',
      () => openTerminals(`${ends[0]} (deleted)`) + openTerminals(ends[0]) === 0,
    )
  }
})

withLine('a device that is plugged in again is heard again, by the name of its port', async () => {
  const path = join(tempDir(), 'port')
  const registry = await DeviceRegistry.open({ wallMs: () => 0, logger: quiet })
  const line = startSerialLine(
    { name: 'bus', ports: [path], baudRate: 9600, maxInFlight: 8, maxFrameSize: 1024 },
    {
      node: nodeWithout(),
      devices: new DeviceTable({ topicPrefix: '', authenticated: false, devices: [{ id: 'pump' }] }),
      registry,
      logger: quiet,
      lookMs: 20,
    },
  )
  for (let round = 0; round < 3; round++) {
    const { ends, program } = await makeLine(1, 0)
    symlinkSync(ends[1], path)
    const device = await openTtyPort(ends[0], 9600)
    device.on('error', () => {})
    // The bridge asks for it when it opens the port.
    await new Promise((resolve) => device.once('data', resolve))
    device.write(HELLO)
    await until(
      'the device has said hello',
      async () => registry.list(),
      ([found]) => found?.connected === true,
    )
    rmSync(path)
    program.signal('SIGKILL')
    await until(
      'the port is closed',
      async () => registry.lines(),
      ([port]) => !port.open,
    )
    assert.is(registry.list()[0].connected, false)
  }
  line.stop()
})

test.run()
