// What must hold between the keys of [[firmware]].

import { formatAddress } from './address.js'
import type { RuleReport } from './rules.js'
import { authenticatesUnasked } from './schema/firmware.js'
import type { WrittenConfig } from './schema.js'

type Entry = WrittenConfig['firmware'][number]

const ONLY_SERIAL = ['baud_rate', 'max_in_flight']
const ONLY_MQTT_SN = [
  'predefined_topics',
  'gateway_id',
  'multicast',
  'advertise_interval',
  'retry_interval',
  'max_retries',
  'max_topic_ids',
  'max_clients',
  'max_clients_per_address',
  'max_packet_rate',
  'max_packet_rate_per_address',
  'max_byte_rate_per_address',
]

export function checkFirmware({ firmware }: WrittenConfig, report: RuleReport): void {
  const lineOf = new Map<string, string>()
  for (const [i, entry] of firmware.entries()) {
    const at = ['firmware', i]
    checkPlaces(entry, i, lineOf, report)
    for (const key of entry.type === 'serial' ? ONLY_MQTT_SN : ONLY_SERIAL)
      if (report.isWritten([...at, key]))
        report.warning([...at, key], `has no effect with type = "${entry.type}"`, 'remove it')
    const ids = new Set<number>()
    for (const { id } of entry.predefinedTopics) {
      if (ids.has(id)) report.error([...at, 'predefined_topics'], `has ${id} twice`, 'give each topic an id of its own')
      ids.add(id)
    }
    checkKeys(entry, i, report)
  }
}

/** Each port and each address belongs to one entry. */
function checkPlaces(entry: Entry, i: number, lineOf: Map<string, string>, report: RuleReport): void {
  const key = entry.type === 'serial' ? 'ports' : 'listen'
  const others = entry.type === 'serial' ? 'listen' : 'ports'
  if (entry[others].length > 0)
    report.error(['firmware', i, others], `has no effect with type = "${entry.type}"`, 'remove it')
  const places = entry.type === 'serial' ? entry.ports : entry.listen.map(formatAddress)
  if (places.length === 0)
    report.error(
      ['firmware', i, key],
      'names none',
      entry.type === 'serial'
        ? 'name a serial port: ports = ["/dev/ttyUSB0"]'
        : 'name a UDP address: listen = ["127.0.0.1:1885"]',
    )
  for (const place of places) {
    const other = lineOf.get(place)
    if (other !== undefined && !place.endsWith(':0'))
      report.error(['firmware', i, key], `has ${place}, which ${other} has too`, 'name it once')
    lineOf.set(place, entry.name)
  }
}

function checkKeys(entry: Entry, i: number, report: RuleReport): void {
  const { device, keyFile } = entry
  const at = ['firmware', i]
  const isAsked = entry.authentication === true
  const authentication = entry.authentication ?? authenticatesUnasked(entry)
  const ids = new Set<string>()
  for (const [j, { id, key }] of device.entries()) {
    if (ids.has(id)) report.error([...at, 'device', j, 'id'], `is "${id}" again`, 'name each device once')
    ids.add(id)
    if (authentication && key === undefined && keyFile === undefined)
      report.error([...at, 'device', j, 'key'], 'is missing, and authentication needs it', 'add it, or a key_file')
  }
  if (!authentication || device.length > 0 || keyFile !== undefined) return
  const fix = 'add a key_file, or [[firmware.device]] with key'
  if (isAsked) report.error([...at, 'authentication'], 'is on, and there is no key', fix)
  else
    report.error(
      [...at, 'listen'],
      'is open to others, and no device has a key',
      `${fix}; or listen on 127.0.0.1; or set authentication = false, so that whoever reaches it is the device it says it is`,
    )
}
