// A serial port of the operating system as a Duplex, by stty and Node's own tty streams: no native module to build. Linux and other Unixes.

import { execFile } from 'node:child_process'
import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
import { Duplex } from 'node:stream'
import { isatty, ReadStream, WriteStream } from 'node:tty'
import { promisify } from 'node:util'
import { SluiceError } from '../../src/index.js'

/** Bytes without parity, no flow control, nothing translated; a port that is closed does not reset the device (-hupcl). */
const STTY_MODES = ['raw', '-echo', 'cs8', '-cstopb', '-parenb', '-crtscts', '-ixon', '-ixoff', 'clocal', '-hupcl']

/**
 * @param baudRate Bits per second, one that stty knows.
 * @throws SluiceError NOT_REACHABLE when there is no such port, or it cannot be set up.
 */
export async function openTtyPort(path: string, baudRate: number): Promise<Duplex> {
  try {
    await promisify(execFile)('stty', ['-F', path, String(baudRate), ...STTY_MODES])
    const flags = constants.O_RDWR | constants.O_NOCTTY | constants.O_NONBLOCK
    const input = await open(path, flags)
    if (!isatty(input.fd)) {
      await input.close()
      throw new Error('it is not a terminal device')
    }
    const output = await open(path, flags)
    return new TtyPort(new ReadStream(input.fd), new WriteStream(output.fd), [input, output])
  } catch (error) {
    const why = error instanceof Error ? error.message.trim() : String(error)
    throw new SluiceError('NOT_REACHABLE', `serial port ${path} cannot be opened: ${why}`, { path }, error)
  }
}

class TtyPort extends Duplex {
  constructor(
    private readonly input: ReadStream,
    private readonly output: WriteStream,
    /** Kept from being closed by the garbage collector while the streams use their descriptors. */
    readonly handles: readonly unknown[],
  ) {
    super()
    input.on('data', (chunk: Buffer) => {
      if (!this.push(chunk)) input.pause()
    })
    for (const stream of [input, output]) {
      stream.on('error', (error) => this.destroy(error))
      stream.on('close', () => this.destroy())
    }
    input.on('end', () => this.destroy())
  }

  override _read(): void {
    this.input.resume()
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.output.write(chunk, done)
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.input.destroy()
    this.output.destroy()
    done(error)
  }
}
