// A [[firmware]] entry of serial ports: those that are named, and those that a pattern finds as they are plugged in. Holds nothing that a restart
// would miss: the log knows how far each device has come.

import { readdir } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import type { Duplex } from 'node:stream'
import type { Logger } from '../../src/index.js'
import type { BridgeNode, DurableTable } from '../devices/bridge-node.js'
import type { DeviceRegistry } from '../devices/device-registry.js'
import type { DeviceTable } from '../devices/device-table.js'
import { openTtyPort } from './tty-port.js'
import { WatchedPort } from './watched-port.js'

/** Ports that one entry has at a time, inclusive. */
const MAX_PORTS = 64
const DEFAULT_LOOK_MS = 1000

export interface SerialLineOptions {
  readonly name: string
  /** As in /dev/ttyUSB0; a `*` in the last part stands for anything. */
  readonly ports: readonly string[]
  readonly baudRate: number
  /** Messages a device may have unacknowledged, inclusive. */
  readonly maxInFlight: number
  /** Longest content of a frame, bytes, inclusive. */
  readonly maxFrameSize: number
}

export interface SerialLineHost {
  readonly node: BridgeNode
  readonly devices: DeviceTable
  readonly registry: DeviceRegistry
  readonly logger: Logger
  /** Default: a terminal device of the system. */
  readonly openPort?: (path: string, baudRate: number) => Promise<Duplex>
  /** How often ports that are not there are looked for. Default: 1000. */
  readonly lookMs?: number
}

/** Opens the ports, now and whenever one comes back. Does not wait for them: a port may be plugged in later. */
export function startSerialLine(options: SerialLineOptions, host: SerialLineHost): SerialLine {
  return new SerialLine(options, host)
}

export class SerialLine {
  devices: DeviceTable
  /** Which devices have a session at the node. */
  readonly sessions: DurableTable<boolean>
  private readonly ports = new Map<string, WatchedPort>()
  private readonly patterns: readonly string[]
  private timer: NodeJS.Timeout | undefined
  private looking = false

  constructor(
    readonly options: SerialLineOptions,
    readonly host: SerialLineHost,
  ) {
    this.devices = host.devices
    this.sessions = host.node.table('serial-sessions')
    this.patterns = options.ports.filter((path) => path.includes('*'))
    for (const path of options.ports) if (!path.includes('*')) this.watch(path)
    void this.look()
    this.timer = setInterval(() => void this.look(), host.lookMs ?? DEFAULT_LOOK_MS).unref()
  }

  /** Who may speak, from the next hello on; who may not any more is cut off. */
  useDevices(devices: DeviceTable): void {
    this.devices = devices
    for (const port of this.ports.values()) port.devicesChanged()
  }

  stop(): void {
    clearInterval(this.timer)
    for (const port of this.ports.values()) port.stop()
  }

  openPort(path: string): Promise<Duplex> {
    return (this.host.openPort ?? openTtyPort)(path, this.options.baudRate)
  }

  private watch(path: string): void {
    if (this.ports.has(path) || this.ports.size >= MAX_PORTS) return
    this.ports.set(path, new WatchedPort(path, this))
  }

  private async look(): Promise<void> {
    if (this.looking) return
    this.looking = true
    for (const pattern of this.patterns) for (const path of await pathsLike(pattern)) this.watch(path)
    for (const port of this.ports.values()) port.openIfThere()
    this.looking = false
  }
}

async function pathsLike(pattern: string): Promise<string[]> {
  const folder = dirname(pattern)
  const [before, after] = basename(pattern).split('*')
  const names = await readdir(folder).catch(() => [])
  return names
    .filter((name) => name.length >= before.length + after.length && name.startsWith(before) && name.endsWith(after))
    .sort()
    .map((name) => join(folder, name))
}
