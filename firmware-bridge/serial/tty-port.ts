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
  const { code, said } = await runOn(descriptor, 'stty', [String(baudRate), ...STTY_MODES])
  if (code !== 0) throw new Error(said || `stty ended with ${code}`)
}

/**
 * Two readers of one port would each get some of the bytes. The lock is of the open file, not of the process that asks for it: it stays until the
 * descriptor is closed, by whatever death. pyserial (exclusive) and serialport ask for the same one. Without flock there is none.
 */
async function hold(descriptor: number): Promise<void> {
  try {
    const { code, said } = await runOn(descriptor, 'flock', ['-x', '-n', '0'])
    if (code !== 0) throw new Error(said || 'another program holds it (`fuser` names it)')
  } catch (error) {
    if (!(error instanceof NotInstalled)) throw error
  }
}

interface Ended {
  readonly code: number | null
  readonly said: string
}

/** Runs a program with the port as its standard input. @throws NotInstalled. */
function runOn(descriptor: number, program: string, args: readonly string[]): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: [descriptor, 'ignore', 'pipe'] })
    let said = ''
    child.stderr?.on('data', (chunk) => {
      said += String(chunk)
    })
    child.once('error', (error: NodeJS.ErrnoException) =>
      reject(error.code === 'ENOENT' ? new NotInstalled(program) : error),
    )
    child.once('close', (code) => resolve({ code, said }))
  })
}

class NotInstalled extends Error {
  constructor(program: string) {
    super(`${program} is not installed (apt install coreutils util-linux)`)
  }
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
