// A serial port of the operating system as a Duplex, by stty and Node's own tty streams: no native module to build. Linux: stty -F.

import { execFile } from 'node:child_process'
import { close, constants, fstat, fstatSync, openSync } from 'node:fs'
import type { Duplex } from 'node:stream'
import { isatty, ReadStream } from 'node:tty'
import { promisify } from 'node:util'
import { SluiceError } from '../../src/index.js'

/** Bytes without parity, no flow control, nothing translated; a port that is closed does not reset the device (-hupcl). */
const STTY_MODES = ['raw', '-echo', 'cs8', '-cstopb', '-parenb', '-crtscts', '-ixon', '-ixoff', 'clocal', '-hupcl']
const FLAGS = constants.O_RDWR | constants.O_NOCTTY | constants.O_NONBLOCK

/**
 * @param baudRate Bits per second, one that stty knows.
 * @throws SluiceError NOT_REACHABLE when there is no such port, or it cannot be set up.
 */
export async function openTtyPort(path: string, baudRate: number): Promise<Duplex> {
  try {
    await promisify(execFile)('stty', ['-F', path, String(baudRate), ...STTY_MODES])
    const descriptor = openSync(path, FLAGS)
    if (!isatty(descriptor)) {
      close(descriptor)
      throw new Error('it is not a terminal device')
    }
    // Takes writes as well, and unlike a tty.WriteStream never blocks in one: a line that is stuck must not hold the node up.
    const port = new ReadStream(descriptor)
    closeAfter(port, descriptor)
    return port
  } catch (error) {
    const why = error instanceof Error ? error.message.trim() : String(error)
    throw new SluiceError('NOT_REACHABLE', `serial port ${path} cannot be opened: ${why}`, { path }, error)
  }
}

/** Node opens terminals anew and leaves the descriptor it was given open, mostly: what is left would keep an unplugged adapter's name in use. */
function closeAfter(port: ReadStream, descriptor: number): void {
  const { rdev } = fstatSync(descriptor)
  port.once('close', () => {
    fstat(descriptor, (error, found) => {
      if (error === null && found.rdev === rdev) close(descriptor)
    })
  })
}
