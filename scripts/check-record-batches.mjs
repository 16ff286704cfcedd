// Holds our record batches against an independent implementation, kafkajs: what we encode it decodes, and what it encodes becomes the fixture
// test/record/fixtures/kafkajs.json, which the tests decode with ours. Run once after a change to the codec:
//
//   npm i --no-save kafkajs@2.2.4 && npm run build && node scripts/check-record-batches.mjs

import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { compress } from '../dist/src/record/compression.js'
import { withCompressedRecords } from '../dist/src/record/record-batch.js'
import { encodeRecordBatch, RecordBatchBuilder } from '../dist/src/record/record-batch-builder.js'

const require = createRequire(import.meta.url)
const kafkajs = (path) => require(`kafkajs/src/protocol/${path}`)
const Decoder = kafkajs('decoder')
const { RecordBatch } = kafkajs('recordBatch/v0')
const decodeBatch = kafkajs('recordBatch/v0/decoder')
const Record = kafkajs('recordBatch/record/v0')
const { Types } = kafkajs('message/compression')

const messages = [
  { key: 'site/office/temperature', value: '{"value":23.18,"unit":"C"}', timestampMs: 1_423_072_260_000, headers: {} },
  { key: 'site/office/humidity', value: '', timestampMs: 1_423_072_259_000, headers: { unit: '%', note: 'é' } },
  { key: 'site/office/light', value: 'x'.repeat(5000), timestampMs: 1_423_072_320_000, headers: {} },
]
const inputOf = ({ key, value, timestampMs, headers }) => ({
  timestampMs,
  key: Buffer.from(key),
  value: Buffer.from(value),
  valueStart: 0,
  valueEnd: Buffer.byteLength(value),
  headers: Object.entries(headers).map(([name, text]) => ({ key: name, value: Buffer.from(text) })),
  attributes: 0,
})

async function checkOurs(name, batch) {
  const { records, ...header } = await decodeBatch(new Decoder(batch))
  records.forEach((record, i) => {
    const { key, value, timestampMs, headers } = messages[i]
    const texts = Object.fromEntries(Object.entries(record.headers).map(([header, bytes]) => [header, String(bytes)]))
    assert.deepEqual(
      [record.offset, String(record.key), String(record.value), record.timestamp, texts],
      [String(41 + i), key, value, String(timestampMs), headers],
    )
  })
  assert.equal(records.length, messages.length)
  console.log(`kafkajs reads ours, ${name}: producer ${header.producerId}, sequence ${header.firstSequence}`)
}

const plain = encodeRecordBatch(41, messages.map(inputOf))
await checkOurs('plain', plain)
await checkOurs('gzip', await withCompressedRecords(plain, 'gzip', compress))
const builder = new RecordBatchBuilder(64)
builder.reset(41)
builder.setProducer(7, 1, 5)
for (const message of messages) builder.append(inputOf(message))
await checkOurs('of a producer', Buffer.from(builder.finish(0)))

const theirs = {}
for (const [name, compression] of [
  ['plain', Types.None],
  ['gzip', Types.GZIP],
]) {
  const firstTimestamp = messages[0].timestampMs
  const { buffer } = await RecordBatch({
    compression,
    firstTimestamp,
    maxTimestamp: messages[2].timestampMs,
    lastOffsetDelta: messages.length - 1,
    partitionLeaderEpoch: 3,
    records: messages.map(({ key, value, timestampMs, headers }, offsetDelta) =>
      Record({ key, value, headers, offsetDelta, timestampDelta: timestampMs - firstTimestamp }),
    ),
  })
  theirs[name] = buffer.toString('base64')
}
const fixture = new URL('../test/record/fixtures/kafkajs.json', import.meta.url)
writeFileSync(fixture, `${JSON.stringify({ messages, batches: theirs }, null, 2)}\n`)
console.log('wrote what kafkajs encodes to test/record/fixtures/kafkajs.json')
