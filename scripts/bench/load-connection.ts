// One connection of a load program: as little between it and the socket as can be. Whatever goes wrong ends the program.

import { connect, type Socket } from 'node:net'
import { CONNACK, encodeConnect } from '../../src/cli/bench/mqtt-packets.js'

export class LoadConnection {
  /** Takes what the socket has read; the bytes are overwritten by the next read. */
  onBytes: (bytes: Buffer) => void = () => fail('the broker spoke before it was asked')

  private constructor(readonly socket: Socket) {}

  /** Resolves when the broker has let it in. @param readBufferBytes Allocated per connection. */
  static open(port: number, clientId: string, readBufferBytes = 64 * 1024): Promise<LoadConnection> {
    const callback = (length: number, buffer: Uint8Array): boolean => {
      connection.onBytes(buffer.subarray(0, length) as Buffer)
      return true
    }
    const onread = { buffer: Buffer.alloc(readBufferBytes), callback }
    const socket = connect({ port, host: '127.0.0.1', noDelay: true, onread })
    const connection = new LoadConnection(socket)
    socket.on('error', (error) => fail(error.message))
    socket.on('close', () => fail('the broker closed a connection'))
    socket.write(encodeConnect(clientId))
    return new Promise((resolve) => {
      connection.onBytes = (bytes) => {
        if (bytes[0] !== CONNACK || bytes[3] !== 0) fail(`the broker refused a connection: ${bytes.toString('hex')}`)
        resolve(connection)
      }
    })
  }
}

export function fail(reason: string): never {
  process.stderr.write(`load: ${reason}\n`)
  process.exit(1)
}

/** Prints the result and ends. */
export function finish(result: unknown): never {
  process.stdout.write(`${JSON.stringify(result)}\n`)
  process.exit(0)
}

export const wait = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds))

/** The program that started this one looks at the broker now, and answers with a line. */
export function checkpoint(name: string): Promise<void> {
  process.stdout.write(`at ${name}\n`)
  return new Promise((resolve) => process.stdin.once('data', () => resolve()))
}
