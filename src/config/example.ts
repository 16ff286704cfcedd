// A sluice.toml with every key, what it means and what applies without it: the reference that cannot fall behind, being made from the schema.

import { stringify } from 'smol-toml'
import type { Field, Fields, JsonSchema } from './fields.js'
import { CONFIG_FIELDS } from './schema.js'

/** Entries an example shows, since [[stream]] and [[upstream]] have no defaults of their own. */
const SAMPLES: Readonly<Record<string, unknown>> = {
  'stream.name': 'telemetry',
  'stream.topics': ['sensors/#'],
  'queue.name': 'mailers',
  'queue.stream': 'telemetry',
  'firmware.name': 'bus',
  'firmware.ports': ['/dev/ttyUSB0'],
  'firmware.device.id': 'pump-7',
  'upstream.name': 'cloud',
  'upstream.type': 'mqtt',
  'upstream.url': 'mqtts://broker.example:8883',
}
const LINE_WIDTH = 100

/** As it stands it changes nothing: its keys are commented out with one #, what explains them with two. */
export function exampleToml(): string {
  const intro = [
    '## Configuration of Sluice. What is commented out shows the default, or "…" where there is none.',
    '## Every key can be set from the environment: SLUICE_MQTT_LISTEN, SLUICE_STREAM_TELEMETRY_PARTITIONS.',
  ]
  return `${[...intro, ...tableLines(CONFIG_FIELDS, [])].join('\n')}\n`
}

function tableLines(fields: Fields, path: readonly string[]): string[] {
  const lines: string[] = []
  const tables: string[] = []
  for (const [key, field] of Object.entries(fields)) {
    const at = [...path, key]
    if (field.kind !== 'table' && field.kind !== 'entries') {
      lines.push('', ...comment(field.description), `# ${key} = ${shown(field, at)}`)
      continue
    }
    // The header of a plain table stands ready, so that a key that is put in force is not taken for one of the table above.
    const plain = field.kind === 'table' && path.length === 0
    const header = field.kind === 'entries' ? `# [[${at.join('.')}]]` : `${plain ? '' : '# '}[${at.join('.')}]`
    tables.push('', '', ...comment(field.description), header, ...tableLines(field.fields, at))
  }
  return [...lines, ...tables]
}

function shown(field: Field, path: readonly string[]): string {
  const { default: standard } = field as { default?: unknown }
  const value = SAMPLES[path.join('.')] ?? standard
  if (value === undefined || isEmpty(value)) return `…${choices(field)}`
  return `${inline(value)}${choices(field)}`
}

function choices(field: Field): string {
  const { enum: words } = (field.kind === 'scalar' ? field.json : {}) as JsonSchema & { enum?: readonly string[] }
  return words !== undefined && words.length > 1 ? `    # ${words.map((word) => `"${word}"`).join(', ')}` : ''
}

function inline(value: unknown): string {
  return stringify({ value })
    .trim()
    .replace(/^value = /, '')
}

function comment(text: string): string[] {
  const lines: string[] = []
  let line = '##'
  for (const word of text.split(' ')) {
    if (line.length + word.length + 1 > LINE_WIDTH) {
      lines.push(line)
      line = '##'
    }
    line += ` ${word}`
  }
  return [...lines, line]
}

function isEmpty(value: unknown): boolean {
  return typeof value === 'object' && value !== null && Object.keys(value).length === 0
}
