// Who may speak on a line, with which key and to which topics: what the configuration says of devices. Asked by sessions at hello.

import { readFile } from 'node:fs/promises'
import { SluiceError } from '../../src/index.js'
import { MAX_KEY_BYTES, MIN_KEY_BYTES } from './mac.js'

const MAX_DEVICE_ID_BYTES = 64

export interface DeviceOptions {
  readonly id: string
  /** Shared with the device: 16 to 64 bytes. */
  readonly key?: Uint8Array
  /** Instead of the line's. */
  readonly topicPrefix?: string
  /** Filters of the topics, without the prefix, that the device may publish and subscribe to. Default: all. */
  readonly topics?: readonly string[]
}

export interface DeviceTableOptions {
  /** In front of every topic; `{device}` stands for the device id. */
  readonly topicPrefix: string
  /** A device without a key is nobody. */
  readonly authenticated: boolean
  /** Who there is; left out, whoever says hello may join, unless `authenticated`. */
  readonly devices?: readonly DeviceOptions[]
}

/** A device as its session knows it. */
export interface KnownDevice {
  readonly id: string
  /** Null where no MAC is asked for. */
  readonly key: Uint8Array | null
  /** With the device's id in it. */
  readonly topicPrefix: string
  readonly topics: readonly string[]
}

const ALL_TOPICS = ['#']

export class DeviceTable {
  private readonly known: ReadonlyMap<string, DeviceOptions> | null

  constructor(private readonly options: DeviceTableOptions) {
    const { devices, authenticated } = options
    this.known = devices || authenticated ? new Map((devices ?? []).map((device) => [device.id, device])) : null
  }

  /** @returns null for a device that may not speak here. */
  find(id: string): KnownDevice | null {
    if (!isDeviceId(id)) return null
    const device = this.known === null ? { id } : this.known.get(id)
    if (device === undefined) return null
    const { key, topicPrefix = this.options.topicPrefix, topics = ALL_TOPICS }: DeviceOptions = device
    if (this.options.authenticated && key === undefined) return null
    return {
      id,
      key: (this.options.authenticated && key) || null,
      topicPrefix: topicPrefix.replaceAll('{device}', id),
      topics,
    }
  }
}

/** An id that would lead out of its own branch of topics is nobody's. */
export function isDeviceId(id: string): boolean {
  const bytes = Buffer.byteLength(id)
  return bytes >= 1 && bytes <= MAX_DEVICE_ID_BYTES && !/[+#/\p{Cc}]/u.test(id)
}

/** @throws SluiceError INVALID_CONFIG, without the key in it. */
export function parseKey(hex: string, whose: string): Buffer {
  if (!/^([0-9a-fA-F]{2})+$/.test(hex) || hex.length < 2 * MIN_KEY_BYTES || hex.length > 2 * MAX_KEY_BYTES)
    throw new SluiceError(
      'INVALID_CONFIG',
      `the key of ${whose} is not ${MIN_KEY_BYTES} to ${MAX_KEY_BYTES} bytes in hex: make one with openssl rand -hex 16`,
    )
  return Buffer.from(hex, 'hex')
}

/**
 * Reads keys in the form of mosquitto's psk_file: a line `ID:HEX` for each device; lines that are empty or begin with # do not count.
 * @throws SluiceError INVALID_CONFIG, naming file and line.
 */
export async function readKeyFile(path: string): Promise<ReadonlyMap<string, Buffer>> {
  const text = await readFile(path, 'utf8').catch((error: Error) => {
    throw new SluiceError('INVALID_CONFIG', `the key file ${path} cannot be read: ${error.message}`, { path }, error)
  })
  const keys = new Map<string, Buffer>()
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    if (/^\s*(#|$)/.test(line)) continue
    const at = line.lastIndexOf(':')
    const id = line.slice(0, at)
    const where = `${path}:${index + 1}`
    if (at < 1 || !isDeviceId(id))
      throw new SluiceError('INVALID_CONFIG', `${where} is not of the form ID:HEX`, { path })
    if (keys.has(id)) throw new SluiceError('INVALID_CONFIG', `${where} names ${JSON.stringify(id)} again`, { path })
    keys.set(id, parseKey(line.slice(at + 1).trim(), `${JSON.stringify(id)} (${where})`))
  }
  return keys
}
