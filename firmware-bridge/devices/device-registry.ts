// How each device and each line is doing, for GET /v1/devices: counters, what devices say of themselves, when they were last heard. Filled by
// the sessions; kept in a table of the node so that a restart does not make a device look new. Bounded: the device not heard of for longest goes first.

import type { Logger } from '../../src/index.js'
import type { DurableTable } from './bridge-node.js'

/** Devices remembered, inclusive. */
const MAX_DEVICES = 10_000
const SAVE_INTERVAL_MS = 60_000

/** Why something a device sent was not taken. */
export type Rejection =
  | 'unknown_device'
  | 'no_session'
  | 'wrong_version'
  | 'wrong_key'
  | 'wrong_place'
  | 'replay'
  | 'topic_invalid'
  | 'topic_not_allowed'
  | 'too_large'
  | 'window_exceeded'
  | 'limit_reached'
  | 'busy'
  | 'refused'

export type Rejections = { [code in Rejection]?: number }

export interface DeviceCounters {
  /** Messages taken and not known before. */
  published: number
  /** Messages that came again. */
  resends: number
  /** Times that numbers were missing. */
  gaps: number
  /** Frames that were damaged on their way. */
  crcErrors: number
  /** Messages sent to the device that it has acknowledged. */
  delivered: number
  rejected: Rejections
}

/** What a device says of itself; whatever it left out stays as it was. */
export interface DeviceReport {
  readonly batteryPercent?: number
  readonly batteryMillivolts?: number
  /** Of the link, as the device hears it. */
  readonly signalDbm?: number
}

/** What is kept of a device across restarts. */
interface StoredDevice {
  readonly firstSeenMs: number
  readonly lastSeenMs: number
  readonly counters: DeviceCounters
  readonly report: DeviceReport
}

/** As GET /v1/devices has it, save for the spelling of its names. */
export interface DeviceStatus extends DeviceCounters {
  readonly id: string
  /** The name of its [[firmware]] entry. */
  readonly line: string
  readonly kind: LineKind
  /** Port or address it was last heard at. */
  readonly address: string | null
  readonly connected: boolean
  readonly firstSeenMs: number
  readonly lastSeenMs: number
  readonly batteryPercent: number | null
  readonly batteryMillivolts: number | null
  readonly signalDbm: number | null
}

export type LineKind = 'serial' | 'mqtt-sn'

/** A serial port, or a UDP socket: what cannot be said of any one device. */
export interface LineStatus {
  readonly line: string
  readonly kind: LineKind
  readonly address: string
  open: boolean
  receivedBytes: number
  sentBytes: number
  /** Frames that were damaged or made no sense, whoever sent them. */
  damagedFrames: number
  /** Answers that found no room on the line. */
  droppedAnswers: number
  /** From whom no device could be told. */
  rejected: Rejections
}

export class Device {
  /** Port or address it was last heard at. */
  address: string | null = null
  connected = false
  report: DeviceReport = {}
  lastSeenMs: number
  counters: DeviceCounters = { published: 0, resends: 0, gaps: 0, crcErrors: 0, delivered: 0, rejected: {} }
  firstSeenMs: number
  /** Something has changed since it was last saved. */
  changed = true

  constructor(
    readonly line: string,
    readonly kind: LineKind,
    readonly id: string,
    nowMs: number,
  ) {
    this.firstSeenMs = this.lastSeenMs = nowMs
  }

  count(what: Exclude<keyof DeviceCounters, 'rejected'>): void {
    this.counters[what] += 1
    this.changed = true
  }

  reject(why: Rejection): void {
    countRejection(this.counters.rejected, why)
    this.changed = true
  }

  status(): DeviceStatus {
    const { id, line, kind, address, connected, firstSeenMs, lastSeenMs, counters, report } = this
    const { batteryPercent = null, batteryMillivolts = null, signalDbm = null } = report
    const said = { batteryPercent, batteryMillivolts, signalDbm }
    return { id, line, kind, address, connected, firstSeenMs, lastSeenMs, ...said, ...counters }
  }
}

export function countRejection(rejections: Rejections, why: Rejection): void {
  rejections[why] = (rejections[why] ?? 0) + 1
}

export interface DeviceRegistryOptions {
  readonly wallMs: () => number
  /** Where it is kept across restarts. */
  readonly table?: DurableTable<StoredDevice>
  readonly logger: Logger
  /** Inclusive. Default: 10,000. */
  readonly maxDevices?: number
}

export class DeviceRegistry {
  /** Least recently heard first. */
  private readonly devices = new Map<string, Device>()
  private readonly openLines: LineStatus[] = []
  private readonly forgotten: string[] = []
  private timer: NodeJS.Timeout | undefined
  private saving: Promise<void> = Promise.resolve()

  private constructor(private readonly options: DeviceRegistryOptions) {}

  static async open(options: DeviceRegistryOptions): Promise<DeviceRegistry> {
    const registry = new DeviceRegistry(options)
    const { table } = options
    if (table === undefined) return registry
    const stored: (readonly [string, StoredDevice])[] = []
    for await (const entry of table.entries()) stored.push(entry)
    stored.sort(([, a], [, b]) => a.lastSeenMs - b.lastSeenMs)
    for (const [key, value] of stored) registry.restore(key, value)
    registry.timer = setInterval(() => void registry.save(), SAVE_INTERVAL_MS).unref()
    return registry
  }

  /** A line to count on, for as long as the bridge runs. */
  line(line: string, kind: LineKind, address: string): LineStatus {
    const counters = { open: false, receivedBytes: 0, sentBytes: 0, damagedFrames: 0, droppedAnswers: 0, rejected: {} }
    const status = { line, kind, address, ...counters }
    this.openLines.push(status)
    return status
  }

  /**
   * The device has been heard, and is who it says it is. Call it once per session, and `heard` for each frame.
   * @param line The name of its [[firmware]] entry.
   */
  device(line: string, kind: LineKind, id: string, address: string): Device {
    const key = keyOf(line, id)
    const device = this.devices.get(key) ?? new Device(line, kind, id, this.options.wallMs())
    this.devices.delete(key)
    this.devices.set(key, device)
    device.address = address
    this.heard(device)
    this.forgetOldest()
    return device
  }

  heard(device: Device): void {
    device.lastSeenMs = this.options.wallMs()
    device.changed = true
  }

  lines(): readonly LineStatus[] {
    return this.openLines
  }

  /** By line, then by id. */
  list(): DeviceStatus[] {
    return [...this.devices.values()]
      .map((device) => device.status())
      .sort((a, b) => compare(a.line, b.line) || compare(a.id, b.id))
  }

  /** Saves what has changed; what cannot be saved is tried again later. */
  async save(): Promise<void> {
    this.saving = this.saving.then(() => this.saveChanged())
    return this.saving
  }

  /** The node must still be there. */
  async stop(): Promise<void> {
    clearInterval(this.timer)
    await this.save()
  }

  private restore(key: string, { firstSeenMs, lastSeenMs, counters, report }: StoredDevice): void {
    const [line, kind, ...id] = key.split('/')
    const device = new Device(line, kind as LineKind, id.join('/'), firstSeenMs)
    device.lastSeenMs = lastSeenMs
    device.counters = counters
    device.report = report
    device.changed = false
    this.devices.set(keyOf(line, device.id), device)
    this.forgetOldest()
  }

  private forgetOldest(): void {
    if (this.devices.size <= (this.options.maxDevices ?? MAX_DEVICES)) return
    const [[key, device]] = this.devices
    this.devices.delete(key)
    if (this.options.table !== undefined) this.forgotten.push(storedKeyOf(device))
  }

  private async saveChanged(): Promise<void> {
    const { table, logger } = this.options
    if (table === undefined) return
    try {
      while (this.forgotten.length > 0) await table.delete(this.forgotten.pop() as string)
      const writes: Promise<void>[] = []
      for (const device of this.devices.values()) {
        if (!device.changed) continue
        device.changed = false
        const { firstSeenMs, lastSeenMs, counters, report } = device
        writes.push(
          table.put(storedKeyOf(device), { firstSeenMs, lastSeenMs, counters, report }).catch((error) => {
            device.changed = true
            throw error
          }),
        )
      }
      await Promise.all(writes)
    } catch (error) {
      logger.warn('what is known of devices could not be saved', { error })
    }
  }
}

function keyOf(line: string, id: string): string {
  return `${line}/${id}`
}

function storedKeyOf({ line, kind, id }: Device): string {
  return `${line}/${kind}/${id}`
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
