// The devices of this process's bridge and of bridges in processes of their own, which say now and then how theirs are. What such a bridge has
// said is kept in memory only: it says it again. Bounded by bridges, devices and the size of a body.

import type { Clock } from '../base/clock.js'
import { SluiceError } from '../base/errors.js'
import { snakeCase } from '../base/snake-case.js'
import { objectOf } from './json-body.js'
import type { DeviceNumbers, DevicesPort, LineNumbers } from './routes/devices.js'

/** Inclusive. */
const MAX_BRIDGES = 256
const MAX_DEVICES = 10_000
const MAX_LINES = 4096
const MAX_TEXT = 256
const MAX_REASONS = 64
/** A bridge that has said nothing for so long is away, and with it its devices. */
const SILENT_MS = 60_000

type Kind = 'text' | 'text?' | 'flag' | 'number' | 'number?' | 'counts'

interface Field {
  /** Within the program, and in a body. */
  readonly name: string
  readonly wireName: string
  readonly kind: Kind
}

const DEVICE_FIELDS = fieldsOf({
  id: 'text',
  line: 'text',
  kind: 'text',
  address: 'text?',
  connected: 'flag',
  firstSeenMs: 'number',
  lastSeenMs: 'number',
  batteryPercent: 'number?',
  batteryMillivolts: 'number?',
  signalDbm: 'number?',
  published: 'number',
  resends: 'number',
  gaps: 'number',
  crcErrors: 'number',
  delivered: 'number',
  rejected: 'counts',
})
const LINE_FIELDS = fieldsOf({
  line: 'text',
  kind: 'text',
  address: 'text',
  open: 'flag',
  receivedBytes: 'number',
  sentBytes: 'number',
  damagedFrames: 'number',
  droppedAnswers: 'number',
  rejected: 'counts',
})

interface Said {
  readonly devices: readonly DeviceNumbers[]
  readonly lines: readonly LineNumbers[]
  readonly atMs: number
}

export class BridgeDevices implements DevicesPort {
  /** Of the bridge in this process. */
  own: DevicesPort = { list: () => [], lines: () => [] }
  private readonly said = new Map<string, Said>()

  constructor(private readonly clock: Clock) {}

  /** @param body As it came. @throws SluiceError INVALID_REQUEST, TOO_MANY_REQUESTS. */
  take(bridge: string, body: unknown): void {
    const { devices, lines } = objectOf(body, 'the body', ['devices', 'lines'])
    const said = {
      devices: rowsOf(devices, 'devices', DEVICE_FIELDS, MAX_DEVICES) as unknown as DeviceNumbers[],
      lines: rowsOf(lines, 'lines', LINE_FIELDS, MAX_LINES) as unknown as LineNumbers[],
      atMs: this.clock.monotonicMs(),
    }
    if (!this.said.has(bridge) && this.said.size >= MAX_BRIDGES)
      throw new SluiceError('TOO_MANY_REQUESTS', `${MAX_BRIDGES} bridges have spoken to this node since its start`)
    said.devices.sort((a, b) => compare(a.line, b.line) || compare(a.id, b.id))
    this.said.set(bridge, said)
  }

  list(): readonly DeviceNumbers[] {
    const others = [...this.said.values()].flatMap((said) =>
      this.isAway(said) ? said.devices.map((device) => ({ ...device, connected: false })) : said.devices,
    )
    return [...this.own.list(), ...others]
  }

  lines(): readonly LineNumbers[] {
    const others = [...this.said.values()].flatMap((said) =>
      this.isAway(said) ? said.lines.map((line) => ({ ...line, open: false })) : said.lines,
    )
    return [...this.own.lines(), ...others]
  }

  private isAway({ atMs }: Said): boolean {
    return this.clock.monotonicMs() - atMs > SILENT_MS
  }
}

/** Rows with exactly the fields that are known, named as within the program. */
function rowsOf(
  value: unknown,
  where: string,
  known: readonly Field[],
  maximum: number,
): Readonly<Record<string, unknown>>[] {
  if (!Array.isArray(value) || value.length > maximum) throw wrong(where, `has to be a list of at most ${maximum}`)
  const wireNames = known.map(({ wireName }) => wireName)
  return value.map((row, i) => {
    const fields = objectOf(row, `${where}[${i}]`, wireNames)
    return Object.fromEntries(
      known.map(({ name, wireName, kind }) => {
        const field = fields[wireName]
        if (!fits(field, kind)) throw wrong(`${where}[${i}].${wireName}`, `is not a ${kind}`)
        return [name, field]
      }),
    )
  })
}

function fits(value: unknown, kind: Kind): boolean {
  switch (kind) {
    case 'text?':
      return value === null || isText(value)
    case 'text':
      return isText(value)
    case 'flag':
      return typeof value === 'boolean'
    case 'number?':
      return value === null || Number.isFinite(value)
    case 'number':
      return Number.isFinite(value)
    case 'counts': {
      if (typeof value !== 'object' || value === null || Array.isArray(value)) return false
      const entries = Object.entries(value)
      return entries.length <= MAX_REASONS && entries.every(([name, count]) => isText(name) && Number.isFinite(count))
    }
  }
}

function isText(value: unknown): boolean {
  return typeof value === 'string' && value.length <= MAX_TEXT && !/\p{Cc}/u.test(value)
}

function fieldsOf(kinds: Readonly<Record<string, Kind>>): Field[] {
  return Object.entries(kinds).map(([name, kind]) => ({ name, wireName: snakeCase(name), kind }))
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}

function wrong(where: string, what: string): SluiceError {
  return new SluiceError('INVALID_REQUEST', `${where} ${what}`, { field: where })
}
