// How consume prints a record: `raw` (the payload and a newline), `json` (one object a line, as the node sent it), or a template in kcat's
// letters. Payloads are bytes and stay bytes; only on a terminal are control characters shown instead of obeyed.

import { UsageError } from './command.js'
import { printable } from './table.js'

/** A record as GET …/records gives it. */
export interface ApiRecord {
  readonly stream: string
  readonly partition: number
  readonly offset: number
  readonly timestamp: string
  readonly timestamp_ms: number
  readonly topic?: string | null
  readonly key_base64?: string
  readonly qos: number
  readonly retain: boolean
  readonly value?: string | null
  readonly value_base64?: string
  readonly headers: readonly { readonly key: string; readonly value?: string | null; readonly value_base64?: string }[]
}

export type RecordFormatter = (record: ApiRecord) => Buffer

const LETTERS: Readonly<Record<string, (record: ApiRecord) => string | Buffer>> = {
  t: ({ stream }) => stream,
  p: ({ partition }) => String(partition),
  o: ({ offset }) => String(offset),
  T: (record) => String(record.timestamp_ms),
  k: keyOf,
  K: (record) => String(keyOf(record).length),
  s: payloadOf,
  S: (record) => String(payloadOf(record).length),
  h: ({ headers }) => headers.map((header) => `${header.key}=${payloadOf(header).toString()}`).join(','),
  '%': () => '%',
}
const ESCAPES: Readonly<Record<string, string>> = { n: '\n', t: '\t', r: '\r', '0': '\0', '\\': '\\' }

/** @throws UsageError for a format that is not understood. */
export function recordFormatter(format: string, isTerminal: boolean): RecordFormatter {
  if (format === 'json') return (record) => Buffer.from(`${JSON.stringify(record)}\n`)
  const shown = isTerminal ? (bytes: Buffer) => Buffer.from(showControls(bytes)) : (bytes: Buffer) => bytes
  if (format === 'raw') return (record) => Buffer.concat([shown(payloadOf(record)), Buffer.from('\n')])
  if (!/[%\\]/.test(format))
    throw new UsageError(`--format takes json, raw, or a template such as '%o %k %s\\n', not ${JSON.stringify(format)}`)
  const parts = parseTemplate(format)
  return (record) =>
    Buffer.concat(
      parts.map((part) => {
        if (typeof part === 'string') return Buffer.from(part)
        const value = part(record)
        return shown(typeof value === 'string' ? Buffer.from(value) : value)
      }),
    )
}

function parseTemplate(template: string): (string | ((record: ApiRecord) => string | Buffer))[] {
  const parts: (string | ((record: ApiRecord) => string | Buffer))[] = []
  for (const [token] of template.matchAll(/%.?|\\x[0-9A-Fa-f]{2}|\\.?|[^%\\]+/gsu)) {
    if (token[0] === '%') {
      const letter = LETTERS[token.slice(1)]
      if (letter === undefined)
        throw new UsageError(`--format: ${token} is not known; there are %t %p %o %T %k %K %s %S %h %%`)
      parts.push(letter)
    } else if (token.startsWith('\\x')) {
      const byte = Number.parseInt(token.slice(2), 16)
      if (Number.isNaN(byte)) throw new UsageError('--format: \\x takes two hexadecimal digits')
      parts.push(String.fromCharCode(byte))
    } else if (token[0] === '\\') {
      const character = ESCAPES[token.slice(1)]
      if (character === undefined)
        throw new UsageError(`--format: ${token} is not known; there are \\n \\t \\r \\0 \\\\ \\xHH`)
      parts.push(character)
    } else parts.push(token)
  }
  return parts
}

function payloadOf(from: Pick<ApiRecord, 'value' | 'value_base64'>): Buffer {
  return from.value_base64 === undefined ? Buffer.from(from.value ?? '') : Buffer.from(from.value_base64, 'base64')
}

function keyOf({ topic, key_base64: base64 }: ApiRecord): Buffer {
  return base64 === undefined ? Buffer.from(topic ?? '') : Buffer.from(base64, 'base64')
}

/** A device must not be able to write to the terminal of whoever looks at its messages; tabs and line ends are harmless. */
function showControls(bytes: Buffer): string {
  return bytes
    .toString('utf8')
    .split(/([\n\t])/)
    .map((part) => (part === '\n' || part === '\t' ? part : printable(part)))
    .join('')
}
