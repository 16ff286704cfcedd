import { isUtf8 } from 'node:buffer'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { batchesAsJson, recordsAsJson } from '../../src/http/record-json.js'
import { attributesOf, type LogRecord, qosOf, retainOf, toOffset } from '../../src/record/record.js'
import { decodeRecords } from '../../src/record/record-batch.js'
import { encodeRecordBatch } from '../../src/record/record-batch-builder.js'
import { withSeed } from '../helpers/seeded-random.js'

const test = suite('records as JSON')

function record(more: Partial<LogRecord>): LogRecord {
  return {
    offset: toOffset(0),
    timestampMs: 0,
    key: Buffer.from('a'),
    value: Buffer.from('v'),
    headers: [],
    attributes: attributesOf(1, false),
    ...more,
  }
}

// biome-ignore lint/suspicious/noExplicitAny: tests look into JSON whose shape is what they check
const asJson = (...records: Partial<LogRecord>[]): any[] =>
  JSON.parse(`[${recordsAsJson('s', 2, records.map(record), ',')}]`)

test('every time is written as the calendar has it, whatever came before it', () => {
  const times = [0, 1, 999, 1000, 1_767_225_599_999, 1_767_225_600_000, 1_767_225_600_012, 5, -1, -1000, 8.64e15]
  for (const [i, json] of asJson(...times.map((timestampMs) => ({ timestampMs }))).entries())
    assert.equal([json.timestamp, json.timestamp_ms], [new Date(times[i]).toISOString(), times[i]])
})

test('a time no calendar has is null, and the number is kept', () => {
  assert.equal(
    asJson({ timestampMs: 8.64e15 + 1000 }).map((json) => [json.timestamp, json.timestamp_ms]),
    [[null, 8.64e15 + 1000]],
  )
})

test('each record has its own topic, whatever came before it', () => {
  const keys = ['a', 'a', 'b', 'größe', null, 'a', Buffer.from([255])]
  const json = asJson(...keys.map((key) => ({ key: key === null ? null : Buffer.from(key) })))
  assert.equal(
    json.slice(0, 6).map(({ topic }) => topic),
    keys.slice(0, 6),
  )
  assert.equal([json[6].topic, json[6].key_base64], [undefined, '/w=='])
})

test('text comes back byte for byte, with every character that JSON escapes', () => {
  const texts = ['', '"\\\b\f\n\r\t\u0000\u001f\u007f', '\u2028\u2029', '😀 ☃ é', '{"a":"\\"b\\""}', '\ufeffbom']
  assert.equal(
    asJson(...texts.map((text) => ({ value: Buffer.from(text) }))).map(({ value }) => value),
    texts,
  )
})

test('a character that JSON escapes is escaped wherever it stands between those that are not', () => {
  const specials = ['"', '\\', '\u0000', '\u001f', '\n', 'é', '\u007f', ' ', '!', '#', '[', ']']
  const texts = specials.flatMap((special) =>
    Array.from({ length: 10 }, (_, at) => `${'abcdefghi'.slice(0, at)}${special}${'abcdefghi'.slice(at)}`),
  )
  assert.equal(
    asJson(...texts.map((text) => ({ value: Buffer.from(text) }))).map(({ value }) => value),
    texts,
  )
})

test('what is not UTF-8 is base64, and nothing is null', () => {
  const bytes = Buffer.from([0xed, 0xa0, 0x80])
  const [binary, none] = asJson({ value: bytes }, { value: null })
  assert.equal([binary.value, binary.value_base64], [undefined, bytes.toString('base64')])
  assert.equal([none.value, none.value_base64], [null, undefined])
})

test('QoS, retain and headers are shown', () => {
  const headers = [
    { key: 'unit', value: Buffer.from('C') },
    { key: 'unit', value: Buffer.from([255]) },
    { key: 'none', value: null },
  ]
  for (const qos of [0, 1, 2] as const)
    for (const retain of [true, false]) {
      const [json] = asJson({ attributes: attributesOf(qos, retain), headers })
      assert.equal([json.qos, json.retain], [qos, retain])
      assert.equal(json.headers, [
        { key: 'unit', value: 'C' },
        { key: 'unit', value_base64: '/w==' },
        { key: 'none', value: null },
      ])
    }
})

test('any bytes give what JSON.stringify gives, or come back from base64', () =>
  withSeed((random) => {
    const values = Array.from({ length: 300 }, () =>
      Buffer.from(Array.from({ length: random.below(70) }, () => random.below(random.below(3) === 0 ? 256 : 128))),
    )
    const offsets = values.map((_, i) =>
      toOffset(random.below(2) === 0 ? i : 2 ** 31 - 150 + i * random.below(2 ** 21)),
    )
    const text = recordsAsJson(
      's',
      2,
      values.map((value, i) => record({ value, offset: offsets[i] })),
      '\n',
    ).toString()
    const lines = text.split('\n')
    assert.is(lines.pop(), '', 'the last line has its end')
    lines.forEach((line, i) => {
      const json = JSON.parse(line)
      assert.is(json.offset, offsets[i])
      assert.is(json.value === undefined, !isUtf8(values[i]))
      if (json.value === undefined) assert.equal(Buffer.from(json.value_base64, 'base64'), values[i])
      else assert.ok(line.includes(`"value":${JSON.stringify(values[i].toString())}`), line)
    })
  }))

test('stored batches give what their records are, wherever reading begins and ends', () =>
  withSeed((random) => {
    const keys = [null, 'a', 'b', 'plant/é', '"quoted"'].map((key) => (key === null ? null : Buffer.from(key)))
    const someTime = (): number =>
      [1_767_225_599_000, 1_767_225_599_000, 0, -5_000][random.below(4)] + random.below(1_100)
    const batches: Buffer[] = []
    const records: LogRecord[] = []
    for (let base = 7; base < 60; base = records[records.length - 1].offset + 1) {
      const inputs = Array.from({ length: 1 + random.below(9) }, () => {
        const value = random.below(9) === 0 ? null : Buffer.alloc(random.below(40), 'text "é\n')
        const headers = random.below(4) === 0 ? [{ key: 'unit', value: Buffer.from('C') }] : []
        const [key, attributes] = [keys[random.below(keys.length)], random.below(8)]
        return { timestampMs: someTime(), key, value, valueStart: 0, valueEnd: value?.length ?? 0, headers, attributes }
      })
      const batch = encodeRecordBatch(toOffset(base), inputs)
      batches.push(batch)
      records.push(...decodeRecords(batch))
    }
    for (let from = 7; from <= 61; from++) {
      const maxRecords = 1 + random.below(60)
      const { json, nextOffset } = batchesAsJson('s', 2, batches, toOffset(from), ',', maxRecords)
      const wanted = records.filter(({ offset }) => offset >= from).slice(0, maxRecords)
      assert.equal(
        JSON.parse(`[${json}]`),
        wanted.map(({ offset, timestampMs, key, value, headers, attributes }) => ({
          stream: 's',
          partition: 2,
          offset,
          timestamp: new Date(timestampMs).toISOString(),
          timestamp_ms: timestampMs,
          topic: key === null ? null : key.toString(),
          qos: qosOf(attributes),
          retain: retainOf(attributes),
          ...(value === null || isUtf8(value)
            ? { value: value === null ? null : value.toString() }
            : { value_base64: value.toString('base64') }),
          headers: headers.map((header) => ({ key: header.key, value: String(header.value) })),
        })),
      )
      assert.is(nextOffset, wanted.length === 0 ? from : wanted[wanted.length - 1].offset + 1)
      assert.equal(json, recordsAsJson('s', 2, wanted, ','), 'and the same bytes')
    }
  }))

test('what grows past what was expected is whole', () => {
  const value = Buffer.alloc(10_000, 1)
  const records = Array.from({ length: 5 }, () => ({ value, headers: [{ key: 'k'.repeat(5_000), value }] }))
  for (const json of asJson(...records)) {
    assert.is(json.value, value.toString())
    assert.is(json.headers[0].key.length, 5_000)
  }
})

test.run()
