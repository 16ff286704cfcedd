// A serial port of the operating system as a Duplex, by stty and Node's own tty streams: no native module to build, and a device that vanishes is
// noticed (ADR 0006). Linux.

import { spawn } from 'node:child_process'
import { close, constants, fstat, fstatSync, openSync } from 'node:fs'
import type { Duplex } from 'node:stream'
import { isatty, ReadStream } from 'node:tty'
import { SluiceError } from '../../src/index.js'

/** Bytes without parity, no flow control, nothing translated; a port that is closed does not reset the device (-hupcl). */
const STTY_MODES = ['raw', '-echo', 'cs8', '-cstopb', '-parenb', '-crtscts', '-ixon', '-ixoff', 'clocal', '-hupcl']
const FLAGS = constants.O_RDWR | constants.O_NOCTTY | constants.O_NONBLOCK

/**
 * @param baudRate Bits per second, one that stty knows.
 * @throws SluiceError NOT_REACHABLE when there is no such port, another program holds it, or it cannot be set up.
 */
export async function openTtyPort(path: string, baudRate: number): Promise<Duplex> {
  const opened: number[] = []
  try {
    const lock = openSync(path, FLAGS)
    opened.push(lock)
    await setUp(lock, baudRate)
    const descriptor = openSync(path, FLAGS)
    opened.push(descriptor)
    // Takes writes as well, and unlike a tty.WriteStream never blocks in one: a line that is stuck must not hold the node up.
    const port = new ReadStream(descriptor)
    closeAfter(port, descriptor, lock)
    return port
  } catch (error) {
    for (const descriptor of opened) close(descriptor)
    const why = error instanceof Error ? error.message.trim() : String(error)
    throw new SluiceError('NOT_REACHABLE', `serial port ${path} cannot be opened: ${why}`, { path }, error)
  }
}

async function setUp(descriptor: number, baudRate: number): Promise<void> {
  if (!isatty(descriptor)) throw new Error('it is not a terminal device')
  await hold(descriptor)
  await runOn(descriptor, 'stty', [String(baudRate), ...STTY_MODES])
}

/**
 * Two readers of one port would each get some of the bytes. The lock is of the open file, not of the process that asks for it: it stays until the
 * descriptor is closed, by whatever death. pyserial (exclusive) and serialport ask for the same one.
 */
async function hold(descriptor: number): Promise<void> {
  try {
    await runOn(descriptor, 'flock', ['--exclusive', '--nonblock', '0'])
  } catch (error) {
    if (isMissing(error)) return
    throw new Error('another program holds it (`fuser` names it)', { cause: error })
  }
}

/** Runs a program with the port as its standard input. @throws Error with what it said. */
function runOn(descriptor: number, program: string, args: readonly string[]): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: [descriptor, 'ignore', 'pipe'] })
    let said = ''
    child.stderr?.on('data', (chunk) => {
      said += String(chunk)
    })
    child.once('error', reject)
    child.once('close', (code) => (code === 0 ? resolve() : reject(new Error(said || `${program} ended with ${code}`))))
  })
}

function isMissing(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === 'ENOENT'
}

/**
 * Node opens a terminal anew and makes the descriptor it was given another of the same file, which it leaves open, mostly (and which is why the lock
 * has one of its own). What is left would keep an unplugged adapter's name in use.
 */
function closeAfter(port: ReadStream, descriptor: number, lock: number): void {
  const { rdev } = fstatSync(descriptor)
  port.once('close', () => {
    close(lock)
    fstat(descriptor, (error, found) => {
      if (error === null && found.rdev === rdev) close(descriptor)
    })
  })
}
