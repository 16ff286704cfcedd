// Serial ports at a node: one session per open port, ports opened again when they come back. Holds nothing that a restart would miss: the log
// knows how far each device has come.

import { randomInt } from 'node:crypto'
import type { Duplex } from 'node:stream'
import type { Logger, RunningNode } from '../../src/index.js'
import { SerialSession, type SerialSessionOptions, type SerialSessionStats } from './serial-session.js'
import { openTtyPort } from './tty-port.js'

const DEFAULT_REOPEN_MS = 1000
const DEFAULT_BAUD_RATE = 115_200
const DEFAULT_WINDOW = 8
const DEFAULT_MAX_FRAME_BYTES = 1024

export interface SerialPortOptions {
  /** As in /dev/ttyUSB0. */
  readonly path: string
  /** Default: 115,200. */
  readonly baudRate?: number
  /** In front of every topic; `{device}` stands for the device id. Default: none. */
  readonly topicPrefix?: string
  /** Messages a device may have unacknowledged, inclusive. Default: 8. */
  readonly window?: number
  /** Longest content of a frame, bytes, inclusive. Default: 1024. */
  readonly maxFrameBytes?: number
  /** The device ids that may say hello. Default: any. */
  readonly devices?: readonly string[]
}

export interface SerialBridgeOptions {
  readonly ports: readonly SerialPortOptions[]
  readonly logger: Logger
  /** Default: a terminal device of the system. */
  readonly openPort?: (path: string, baudRate: number) => Promise<Duplex>
  /** After which a port that is not there is looked for again. Default: 1000. */
  readonly reopenMs?: number
}

export interface SerialPortStatus extends SerialSessionStats {
  readonly path: string
  readonly open: boolean
  /** Who is on it, once it has said hello. */
  readonly device: string | null
  readonly damagedFrames: number
}

export interface SerialBridge {
  /** Since each port was last opened. */
  status(): readonly SerialPortStatus[]
  /** Closes all ports. What was taken is durable once the node has stopped. */
  stop(): void
}

/** Opens the ports, now and whenever one comes back. Does not wait for them: a port may be plugged in later. */
export function startSerialBridge(node: Pick<RunningNode, 'publish'>, options: SerialBridgeOptions): SerialBridge {
  const watched = options.ports.map((port) => new WatchedPort(node, port, options))
  return {
    status: () => watched.map((port) => port.status()),
    stop: () => {
      for (const port of watched) port.stop()
    },
  }
}

class WatchedPort {
  private port: Duplex | null = null
  private session: SerialSession | null = null
  private timer: NodeJS.Timeout | undefined
  private stopped = false
  private missing = false

  constructor(
    private readonly node: Pick<RunningNode, 'publish'>,
    private readonly options: SerialPortOptions,
    private readonly bridge: SerialBridgeOptions,
  ) {
    void this.open()
  }

  status(): SerialPortStatus {
    const { session } = this
    const counters = session?.counters ?? NOTHING_COUNTED
    const { device = null, damagedFrames = 0 } = session ?? {}
    return { path: this.options.path, open: this.port !== null, device, damagedFrames, ...counters }
  }

  stop(): void {
    this.stopped = true
    clearTimeout(this.timer)
    this.port?.destroy()
  }

  private async open(): Promise<void> {
    const { path, baudRate = DEFAULT_BAUD_RATE } = this.options
    const { logger, openPort = openTtyPort } = this.bridge
    try {
      const port = await openPort(path, baudRate)
      if (this.stopped) {
        port.destroy()
        return
      }
      this.missing = false
      this.port = port
      this.session = new SerialSession(port, this.sessionOptions())
      logger.info('serial port opened', { path, baudRate })
      port.once('error', (error) => logger.warn('serial port failed', { path, error }))
      port.once('close', () => {
        this.port = null
        if (!this.stopped) logger.warn('serial port closed', { path })
        this.openLater()
      })
    } catch (error) {
      // Said once: a port that is unplugged for a week fills no log.
      if (!this.missing && !this.stopped) logger.warn('serial port not there, trying on', { path, error })
      this.missing = true
      this.openLater()
    }
  }

  private openLater(): void {
    if (this.stopped) return
    this.timer = setTimeout(() => void this.open(), this.bridge.reopenMs ?? DEFAULT_REOPEN_MS)
    this.timer.unref()
  }

  private sessionOptions(): SerialSessionOptions {
    const { topicPrefix = '', window = DEFAULT_WINDOW, maxFrameBytes = DEFAULT_MAX_FRAME_BYTES, devices } = this.options
    return {
      publish: (message) => this.node.publish(message),
      topicPrefix,
      window,
      maxFrameBytes,
      knowsDevice: devices && ((device) => devices.includes(device)),
      newEpoch: () => randomInt(1, 2 ** 32),
      wallMs: () => Date.now(),
      monotonicMs: () => performance.now(),
      logger: this.bridge.logger,
    }
  }
}

const NOTHING_COUNTED: SerialSessionStats = {
  published: 0,
  resends: 0,
  gaps: 0,
  crcErrors: 0,
  grammarErrors: 0,
  refused: 0,
  droppedAnswers: 0,
}
