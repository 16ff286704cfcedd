// Real sensor readings as MQTT messages, one per reading and channel, for tests, the demo and benchmarks whose result depends on what the
// bytes look like. They come from recorded readings where these are present (../shared/data beside the repository), else from the machine's own
// sensors: temperatures, load, memory, network counters.

import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { freemem, loadavg, uptime } from 'node:os'
import { join } from 'node:path'

export interface Reading {
  readonly mqttTopic: string
  /** JSON: `{"ts":"2015-02-04T17:51:00Z","value":23.18,"unit":"C"}`. */
  readonly payload: string
}

interface Channel {
  readonly column: string
  readonly name: string
  readonly unit: string
}

const RECORDED = join(import.meta.dirname, '..', '..', '..', 'shared', 'data')

const OFFICE: readonly Channel[] = [
  { column: 'Temperature', name: 'temperature', unit: 'C' },
  { column: 'Humidity', name: 'humidity', unit: '%' },
  { column: 'Light', name: 'light', unit: 'lx' },
  { column: 'CO2', name: 'co2', unit: 'ppm' },
  { column: 'HumidityRatio', name: 'humidity-ratio', unit: 'kg/kg' },
]
const STREET: readonly Channel[] = [
  { column: 'CO_GT', name: 'co', unit: 'mg/m3' },
  { column: 'C6H6_GT', name: 'benzene', unit: 'ug/m3' },
  { column: 'NOx_GT', name: 'nox', unit: 'ppb' },
  { column: 'NO2_GT', name: 'no2', unit: 'ug/m3' },
  { column: 'PT08_S1_CO', name: 'gas-1', unit: 'ohm' },
  { column: 'PT08_S2_NMHC', name: 'gas-2', unit: 'ohm' },
  { column: 'PT08_S3_NOx', name: 'gas-3', unit: 'ohm' },
  { column: 'PT08_S4_NO2', name: 'gas-4', unit: 'ohm' },
  { column: 'PT08_S5_O3', name: 'gas-5', unit: 'ohm' },
  { column: 'T', name: 'temperature', unit: 'C' },
  { column: 'RH', name: 'humidity', unit: '%' },
  { column: 'AH', name: 'absolute-humidity', unit: 'g/m3' },
]

/** Where `readings` takes them from, for people. */
export function readingsSource(): string {
  return hasRecorded() ? 'recorded sensor readings' : "this machine's own sensors"
}

/** Readings without end: recorded ones begin anew after the last. */
export function* readings(): Generator<Reading, never> {
  const recorded = hasRecorded()
  for (;;) yield* recorded ? recordedReadings() : machineReadings()
}

/** The next `count` of them. */
export function takeReadings(source: Iterator<Reading>, count: number): Reading[] {
  return Array.from({ length: count }, () => source.next().value as Reading)
}

function hasRecorded(): boolean {
  return existsSync(join(RECORDED, 'occupancy-datatraining.csv')) && existsSync(join(RECORDED, 'air-quality.csv'))
}

/** Row by row, an office and a street in turn, as their sensors would send. */
function* recordedReadings(): Generator<Reading> {
  const office = ['occupancy-datatraining.csv', 'occupancy-datatest.csv', 'occupancy-datatest2.csv'].flatMap((name) =>
    readTable(join(RECORDED, name)),
  )
  const street = readTable(join(RECORDED, 'air-quality.csv'))
  for (let row = 0; row < Math.max(office.length, street.length); row++) {
    if (row < office.length) {
      yield* messagesOf('site/office', `${office[row]['Date'].replace(' ', 'T')}Z`, office[row], OFFICE)
    }
    if (row < street.length) {
      const [day, month, year] = street[row]['Date'].split('/').map((part) => part.padStart(2, '0'))
      yield* messagesOf(
        'site/street',
        `${year}-${month}-${day}T${street[row]['Time'].padStart(8, '0')}Z`,
        street[row],
        STREET,
      )
    }
  }
}

type Row = Readonly<Record<string, string>>

function readTable(path: string): Row[] {
  const [header, ...lines] = readFileSync(path, 'utf8').replaceAll('"', '').trimEnd().split(/\r?\n/)
  const names = header.split(',')
  return lines.map((line) => {
    const cells = line.split(',')
    return Object.fromEntries(names.map((name, i) => [name, cells[i] ?? '']))
  })
}

function* messagesOf(site: string, timestamp: string, row: Row, channels: readonly Channel[]): Generator<Reading> {
  for (const { column, name, unit } of channels) {
    // -200 is how the street's sensors say that there was no reading.
    if (row[column] !== '' && row[column] !== '-200')
      yield reading(`${site}/${name}`, timestamp, Number(row[column]), unit)
  }
}

function reading(mqttTopic: string, timestamp: string, value: number, unit: string): Reading {
  return { mqttTopic, payload: JSON.stringify({ ts: timestamp, value, unit }) }
}

/** All sensors of the machine, read once. */
function* machineReadings(): Generator<Reading> {
  const timestamp = new Date().toISOString()
  yield reading('machine/uptime', timestamp, uptime(), 's')
  yield reading('machine/memory/free', timestamp, freemem(), 'B')
  for (const [i, load] of loadavg().entries()) yield reading(`machine/load/${[1, 5, 15][i]}`, timestamp, load, '')
  for (const [, name, kilobytes] of readOr('/proc/meminfo').matchAll(/^(MemAvailable|Cached|Dirty): +(\d+) kB$/gm)) {
    yield reading(`machine/memory/${name.toLowerCase()}`, timestamp, Number(kilobytes), 'kB')
  }
  for (const [, device, rest] of readOr('/proc/net/dev').matchAll(/^ *([\w.-]+): *(.+)$/gm)) {
    const numbers = rest.trim().split(/\s+/).map(Number)
    yield reading(`machine/network/${device}/received`, timestamp, numbers[0], 'B')
    yield reading(`machine/network/${device}/sent`, timestamp, numbers[8], 'B')
  }
  const thermal = '/sys/class/thermal'
  for (const zone of existsSync(thermal) ? readdirSync(thermal) : []) {
    const millidegrees = Number.parseInt(readOr(join(thermal, zone, 'temp')), 10)
    if (Number.isFinite(millidegrees)) yield reading(`machine/temperature/${zone}`, timestamp, millidegrees / 1000, 'C')
  }
}

function readOr(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
