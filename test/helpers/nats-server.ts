// A real nats-server with its MQTT port: a foreign broker that is no mosquitto. Its MQTT needs JetStream, which keeps its files in a folder.

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { findProgram, freePort } from './mosquitto.js'
import { Program, type ProgramEnd, type ProgramOptions } from './program.js'
import { tempDir } from './temp-dir.js'

export const natsServerMissing = findProgram('nats-server') === null ? 'nats-server is not installed' : null

export class NatsServer {
  private constructor(
    /** For MQTT. */
    readonly port: number,
    /** For NATS' own protocol. */
    readonly natsPort: number,
    private readonly program: Program,
  ) {}

  static async start(options: ProgramOptions = {}): Promise<NatsServer> {
    const folder = tempDir()
    const [port, natsPort] = [await freePort(), await freePort()]
    const path = join(folder, 'nats.conf')
    const lines = [
      'server_name: cloud',
      `listen: 127.0.0.1:${natsPort}`,
      `jetstream { store_dir: "${folder}/jetstream" }`,
      `mqtt { listen: "127.0.0.1:${port}", max_ack_pending: 1000 }`,
    ]
    writeFileSync(path, `${lines.join('\n')}\n`)
    const program = new Program(findProgram('nats-server') ?? 'nats-server', ['-c', path], options)
    await program.waitFor(/Server is ready/, 'stderr')
    return new NatsServer(port, natsPort, program)
  }

  kill(signal: NodeJS.Signals = 'SIGTERM'): Promise<ProgramEnd> {
    return this.program.stop(signal)
  }
}
