import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { UsageError } from '../../src/cli/command.js'
import { type ApiRecord, recordFormatter } from '../../src/cli/record-format.js'

const test = suite('record format')

const RECORD: ApiRecord = {
  stream: 'mqtt',
  partition: 3,
  offset: 42,
  timestamp: '2026-01-01T00:00:00.000Z',
  timestamp_ms: 1767225600000,
  topic: 'sensors/größe',
  qos: 1,
  retain: false,
  value: '21.5 °C',
  headers: [
    { key: 'unit', value: 'C' },
    { key: 'raw', value_base64: Buffer.from('x').toString('base64') },
  ],
}

test("a template replaces kcat's letters and escapes", () => {
  const format = recordFormatter('%t/%p@%o %T %k(%K) %s(%S) %h %%\\t\\x41\\\\\\n', false)
  assert.is(format(RECORD).toString(), 'mqtt/3@42 1767225600000 sensors/größe(15) 21.5 °C(8) unit=C,raw=x %\tA\\\n')
})

test('raw is the payload and a newline, byte for byte', () => {
  const bytes = Buffer.from([0, 255, 27, 128])
  const record = { ...RECORD, value: undefined, value_base64: bytes.toString('base64') }
  assert.equal(recordFormatter('raw', false)(record), Buffer.concat([bytes, Buffer.from('\n')]))
  assert.equal(recordFormatter('%s', false)(record), bytes)
})

test('a record without a payload prints as an empty one', () => {
  assert.is(recordFormatter('raw', false)({ ...RECORD, value: null, topic: null }).toString(), '\n')
})

test('json is one line', () => {
  const line = recordFormatter('json', true)({ ...RECORD, value: 'a\nb' }).toString()
  assert.is(line.indexOf('\n'), line.length - 1)
  assert.is(JSON.parse(line).value, 'a\nb')
})

test('on a terminal a payload cannot send it commands', () => {
  const evil = { ...RECORD, value: 'a\u001b[2Jb\tc\nd', topic: 'x\u001b]0;t\u0007' }
  assert.is(recordFormatter('raw', true)(evil).toString(), 'a\\x1b[2Jb\tc\nd\n')
  assert.is(recordFormatter('%k\\x1b', true)(evil).toString(), 'x\\x1b]0;t\\x07\u001b')
  assert.is(recordFormatter('raw', false)(evil).toString(), `${evil.value}\n`)
})

test('a format that is not understood is named', () => {
  for (const format of ['%z', '%', '\\q', '\\', '\\x1', 'jsn', ''])
    assert.throws(
      () => recordFormatter(format, false),
      (error: unknown) => error instanceof UsageError && error.message.includes('--format'),
    )
})

test.run()
