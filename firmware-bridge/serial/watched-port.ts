// One serial port, opened whenever it is there: a session for each time. Looked after by SerialLine.

import { randomBytes, randomInt } from 'node:crypto'
import { existsSync } from 'node:fs'
import type { Duplex } from 'node:stream'
import type { LineStatus } from '../devices/device-registry.js'
import { NONCE_BYTES } from '../devices/mac.js'
import type { SerialLine } from './serial-line.js'
import { SerialSession } from './serial-session.js'

export class WatchedPort {
  private readonly status: LineStatus
  private port: Duplex | null = null
  private session: SerialSession | null = null
  private opening = false
  private stopped = false
  /** Why it is not open, as it was said last. */
  private problem: string | null = null

  constructor(
    private readonly path: string,
    private readonly line: SerialLine,
  ) {
    this.status = line.host.registry.line(line.options.name, 'serial', path)
  }

  devicesChanged(): void {
    this.session?.devicesChanged()
  }

  stop(): void {
    this.stopped = true
    this.port?.destroy()
  }

  openIfThere(): void {
    if (this.port !== null || this.opening || this.stopped) return
    // Setting up a port costs a process; looking whether it is there costs nothing.
    if (this.line.host.openPort === undefined && !existsSync(this.path)) this.notOpen('no such port')
    else void this.open()
  }

  private async open(): Promise<void> {
    const { path, line } = this
    const { logger } = line.host
    this.opening = true
    try {
      const port = await line.openPort(path)
      if (this.stopped) {
        port.destroy()
        return
      }
      this.problem = null
      this.port = port
      this.status.open = true
      this.session = this.newSession(port)
      this.session.askForHello()
      logger.info('serial port opened', { path, baudRate: line.options.baudRate })
      port.once('error', (error) => logger.warn('serial port failed', { path, error }))
      port.once('close', () => this.closed())
    } catch (error) {
      this.notOpen(error)
    } finally {
      this.opening = false
    }
  }

  private newSession(port: Duplex): SerialSession {
    const { node, registry, logger } = this.line.host
    const { name, maxInFlight, maxFrameSize } = this.line.options
    return new SerialSession(port, {
      node,
      sessions: this.line.sessions,
      findDevice: (id) => this.line.devices.find(id),
      joined: (id) => registry.device(name, 'serial', id, this.path),
      heard: (device) => registry.heard(device),
      status: this.status,
      window: maxInFlight,
      maxFrameBytes: maxFrameSize,
      newEpoch: () => randomInt(1, 2 ** 32),
      newNonce: () => randomBytes(NONCE_BYTES),
      wallMs: () => Date.now(),
      monotonicMs: () => performance.now(),
      logger,
    })
  }

  private closed(): void {
    this.port = null
    this.status.open = false
    this.session?.end()
    this.session = null
    if (!this.stopped) this.line.host.logger.warn('serial port closed', { path: this.path })
  }

  /** Each reason is said once: a port that is unplugged for a week fills no log. */
  private notOpen(error: unknown): void {
    const problem = String(error)
    if (problem !== this.problem && !this.stopped)
      this.line.host.logger.warn('serial port not open, trying on', { path: this.path, error })
    this.problem = problem
  }
}
