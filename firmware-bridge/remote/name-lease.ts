// Holds this bridge's name at the node by a connection that lives as long as the process: a second process of the same name is refused, and learns it. A
// pulse goes over it and comes back, so that either side notices when the other has gone without a word.

import type { Socket } from 'node:net'
import { type Logger, SluiceError } from '../../src/index.js'
import type { NodeApi } from './node-api.js'
import { pause } from './pause.js'

const PULSE_MS = 2000
const SILENT_MS = 15_000
/** How often a name that another process has is asked for. */
const LOOK_MS = 1000
const MIN_PAUSE_MS = 200
const MAX_PAUSE_MS = 5000
const PULSE = Buffer.of(0)

export class NameLease {
  private socket: Socket | null = null
  private readonly stopped = new AbortController()

  constructor(
    private readonly api: Pick<NodeApi, 'lease' | 'superseded'>,
    private readonly logger: Logger,
  ) {}

  /**
   * Waits for the node to be there; and where a process that may have been killed has the name, until that is clear.
   * @throws SluiceError FENCED_INSTANCE_ID: another process has the name, and is alive.
   */
  async take(): Promise<void> {
    let seen: unknown
    await this.acquire(async (error) => {
      const { pulses } = error.details
      if (seen !== undefined && pulses !== seen) throw error
      if (seen === undefined)
        this.logger.warn('another process has the name of this bridge: waiting until it is clear whether it is alive')
      seen = pulses
      await pause(LOOK_MS, this.stopped.signal)
    })
  }

  stop(): void {
    this.stopped.abort()
    this.socket?.destroy()
  }

  private async acquire(whenRefused: (error: SluiceError) => Promise<void>): Promise<void> {
    let pauseMs = MIN_PAUSE_MS
    while (!this.stopped.signal.aborted) {
      try {
        this.hold((await this.api.lease()).socket)
        return
      } catch (error) {
        if (!(error instanceof SluiceError)) throw error
        if (error.code === 'FENCED_INSTANCE_ID') await whenRefused(error)
        else await pause(pauseMs, this.stopped.signal)
        pauseMs = Math.min(2 * pauseMs, MAX_PAUSE_MS)
      }
    }
  }

  private hold(socket: Socket): void {
    this.socket = socket
    let heardMs = performance.now()
    const pulse = setInterval(() => {
      if (performance.now() - heardMs > SILENT_MS) socket.destroy()
      else socket.write(PULSE)
    }, PULSE_MS).unref()
    socket.on('data', () => {
      heardMs = performance.now()
    })
    socket.on('error', () => {})
    socket.once('close', () => {
      clearInterval(pulse)
      // Whoever has taken the name meanwhile keeps it.
      if (!this.stopped.signal.aborted) void this.acquire(async (error) => this.end(error))
    })
    if (this.stopped.signal.aborted) socket.destroy()
  }

  private end(error: SluiceError): void {
    this.stopped.abort()
    this.api.superseded(error)
  }
}
