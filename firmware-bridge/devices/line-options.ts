// A [[firmware]] entry as both kinds of line need it: who may speak, from the configuration and the key file.

import type { Config } from '../../src/index.js'
import { type DeviceOptions, parseKey, readKeyFile } from './device-table.js'

/** What an entry says of its devices. */
export type DeviceConfig = Pick<Config['firmware'][number], 'device' | 'keyFile'>

/**
 * @returns the devices of the entry, those that only the key file names included; undefined where neither says anything: anybody may speak.
 * @throws SluiceError INVALID_CONFIG for a key file that cannot be read or is not of its form.
 */
export async function devicesOf({ device, keyFile }: DeviceConfig): Promise<DeviceOptions[] | undefined> {
  if (device.length === 0 && keyFile === undefined) return undefined
  const keys = keyFile === undefined ? new Map<string, Buffer>() : new Map(await readKeyFile(keyFile))
  const devices = device.map(({ id, key: hex, topicPrefix, topics }): DeviceOptions => {
    const key = hex === undefined ? keys.get(id) : parseKey(hex, JSON.stringify(id))
    keys.delete(id)
    return { id, topics, ...(key && { key }), ...(topicPrefix !== undefined && { topicPrefix }) }
  })
  return [...devices, ...[...keys].map(([id, key]) => ({ id, key }))]
}
