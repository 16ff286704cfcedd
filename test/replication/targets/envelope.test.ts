import { gunzipSync } from 'node:zlib'
import { decode } from 'cbor-x'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { attributesOf, type Offset, type PartitionId, type RecordHeader } from '../../../src/record/record.js'
import { encodeRecordBatch } from '../../../src/record/record-batch-builder.js'
import { type EnvelopeOptions, MqttPacker, type MqttShipment } from '../../../src/replication/targets/mqtt-packer.js'
import { MiniBroker } from '../../helpers/mini-broker.js'
import { readAll } from '../../helpers/open-log.js'
import { withSeed } from '../../helpers/seeded-random.js'
import { TcpProxy } from '../../helpers/tcp-proxy.js'
import { UpstreamBench, upstreamTo } from '../upstream-bench.js'
import { publishesIn } from './publishes-in.js'

interface Written {
  readonly value: string | Buffer
  readonly topic?: string
  readonly retain?: boolean
  readonly headers?: readonly RecordHeader[]
}

function batchOf(baseOffset: number, records: readonly Written[]): Buffer {
  return encodeRecordBatch(
    baseOffset as Offset,
    records.map(({ value, topic = 'sensors/a', retain = false, headers = [] }, i) => {
      const bytes = Buffer.from(value)
      return {
        ...{ timestampMs: 1_700_000_000_000 + i, key: Buffer.from(topic), headers },
        ...{ value: bytes, valueStart: 0, valueEnd: bytes.length, attributes: attributesOf(1, retain) },
      }
    }),
  )
}

const ENVELOPE: EnvelopeOptions = { format: 'json', gzip: false, maxBytes: 10_000, maxRecords: 100, lingerMs: 0 }

async function pack(
  records: readonly Written[],
  envelope: Partial<EnvelopeOptions>,
  more: { stream?: string; maxPacketBytes?: number; singlyBelow?: number } = {},
): Promise<MqttShipment[]> {
  const packer = new MqttPacker({
    ...{ name: 'cloud', nodeId: 'gw-17', clientId: 'c', topic: 'up/{node}/{stream}/{partition}/{offset}' },
    limits: { maxPacketBytes: more.maxPacketBytes },
    envelope: { ...ENVELOPE, ...envelope },
  })
  const source = { stream: more.stream ?? 'telemetry', partition: 3 as PartitionId }
  return packer.pack(source, [batchOf(7, records)], 0 as Offset, (more.singlyBelow ?? 0) as Offset)
}

const payloadOf = ({ packets }: MqttShipment): Buffer => publishesIn(packets)[0].payload

const RECORDS: readonly Written[] = [
  { value: '{"t":21.50,"id":12345678901234567890}', retain: true },
  { value: '21.5' },
  { value: 'on fire', topic: 'größe/x' },
  { value: Buffer.from([0, 255, 1]), headers: [{ key: 'unit', value: Buffer.from('C') }] },
  { value: '' },
  { value: '{"broken":' },
]

test('a JSON envelope is an array anyone can read, each record with its id; JSON payloads stand in it as they were written', async () => {
  const [shipment, ...more] = await pack(RECORDS, {})
  assert.is(more.length, 0)
  assert.is(publishesIn(shipment.packets)[0].topic, 'up/gw-17/telemetry/3/7')
  const text = payloadOf(shipment).toString()
  assert.ok(text.includes('"value":{"t":21.50,"id":12345678901234567890}'), 'to the last digit')
  assert.equal(
    JSON.parse(text).map(({ value: _, ...rest }: { value: unknown }) => rest),
    [
      { id: 'gw-17/telemetry/3/7', time: 1_700_000_000_000, topic: 'sensors/a', retain: true },
      { id: 'gw-17/telemetry/3/8', time: 1_700_000_000_001, topic: 'sensors/a' },
      { id: 'gw-17/telemetry/3/9', time: 1_700_000_000_002, topic: 'größe/x', text: 'on fire' },
      {
        ...{ id: 'gw-17/telemetry/3/10', time: 1_700_000_000_003, topic: 'sensors/a', base64: 'AP8B' },
        headers: [['unit', 'C']],
      },
      { id: 'gw-17/telemetry/3/11', time: 1_700_000_000_004, topic: 'sensors/a', text: '' },
      { id: 'gw-17/telemetry/3/12', time: 1_700_000_000_005, topic: 'sensors/a', text: '{"broken":' },
    ],
  )
  assert.equal([shipment.offset, shipment.nextOffset, shipment.records], [7, 13, 6])
})

test('a CBOR envelope holds the same in less, also compressed', async () => {
  const [shipment] = await pack(RECORDS, { format: 'cbor', gzip: true })
  const [version, node, stream, partition, offset, time, rows] = decode(gunzipSync(payloadOf(shipment)))
  assert.equal([version, node, stream, partition, offset, time], [1, 'gw-17', 'telemetry', 3, 7, 1_700_000_000_000])
  assert.equal(rows[0], [0, 0, 'sensors/a', Buffer.from(RECORDS[0].value as string), 1])
  assert.equal(rows[2], [2, 2, 'größe/x', Buffer.from('on fire')])
  assert.equal(rows[3], [3, 3, 'sensors/a', Buffer.from([0, 255, 1]), 0, [['unit', Buffer.from('C')]]])
  assert.is(rows.length, 6)
})

test('an envelope ends at its maximum of records and of bytes; a larger record has one of its own, one too large for a packet is rejected', async () => {
  const records = Array.from({ length: 10 }, (_, i) => ({ value: `value ${i}` }))
  const shapes = async (...args: Parameters<typeof pack>) =>
    (await pack(...args)).map(({ offset, nextOffset }) => nextOffset - offset)
  assert.equal(await shapes(records, { maxRecords: 4 }), [4, 4, 2])
  assert.equal(await shapes(records, { format: 'cbor', maxBytes: 120 }), [3, 3, 3, 1])
  assert.equal(await shapes([...records, { value: 'x'.repeat(5000) }, ...records], { maxBytes: 2000 }), [10, 1, 10])
  const [, huge] = await pack([...records, { value: 'x'.repeat(5000) }], { maxBytes: 2000 }, { maxPacketBytes: 3000 })
  assert.match(huge.rejected ?? '', /larger than a packet over there can be \(3000 bytes\)/)
  assert.equal(await shapes(records, {}, { singlyBelow: 10 }), [1, 1, 1, 7])
})

test('what came down from that upstream is left out, and a mirror keeps the id of its origin', async () => {
  const via = { key: 'sluice.via', value: Buffer.from('cloud') }
  const other = { key: 'sluice.via', value: Buffer.from('elsewhere') }
  const shipments = await pack(
    [{ value: '1' }, { value: '2', headers: [via] }, { value: '3', headers: [other] }],
    {},
    { stream: 'gw-9.telemetry' },
  )
  assert.equal(
    shipments.map(({ known }) => known),
    [undefined, true, undefined],
  )
  assert.is(JSON.parse(payloadOf(shipments[0]).toString())[0].id, 'gw-9/telemetry/3/7')
})

test('over a link that is cut at random every record arrives in an envelope, in order, and with its id duplicates can be told', () =>
  withSeed(async (random) => {
    const bench = await UpstreamBench.open([
      { name: 'telemetry', partitions: 2 },
      { name: 'dead', topics: [] },
    ])
    const broker = await MiniBroker.start()
    const proxy = await TcpProxy.start(broker.port)
    const poisonous = new Set([random.below(3000), random.below(3000)])
    const numbersIn = (payload: Buffer): number[] =>
      JSON.parse(gunzipSync(payload).toString()).map(({ text }: { text: string }) => Number(text.split(' ')[1]))
    broker.hangUpOn = ({ payload }) => numbersIn(payload).some((n) => poisonous.has(n))
    try {
      const envelope = { ...ENVELOPE, gzip: true, maxRecords: 50, lingerMs: 20 }
      bench.start(upstreamTo(proxy.port, { envelope, topic: 'up', maxInFlight: 4, maxAttempts: 3, deadLetter: 'dead' }))
      for (let written = 0; written < 3000; written += 100) {
        await bench.write(100)
        if (random.chance(0.3)) proxy.cutAfter(1 + random.below(3000), random.chance(0.5) ? 'up' : 'down')
        await new Promise((resolve) => setTimeout(resolve, random.below(10)))
      }
      await bench.drained()
      const ids = new Map<string, number>()
      for (const { payload } of broker.received)
        for (const { id, text } of JSON.parse(gunzipSync(payload).toString())) {
          const n = Number(text.split(' ')[1])
          assert.is(ids.get(id) ?? n, n, 'an id is of one record for ever')
          ids.set(id, n)
        }
      const dead = (await readAll(bench.test.log, 'dead')).map(({ value }) =>
        Number(Buffer.from(value!).toString().split(' ')[1]),
      )
      assert.equal(new Set(dead), poisonous, 'of a refused envelope only the record that is to blame')
      assert.equal(
        [...ids.values(), ...dead].sort((a, b) => a - b),
        Array.from({ length: 3000 }, (_, n) => n),
      )
      assert.ok(broker.received.length < 1000, `${broker.received.length} messages for 3000 records`)
    } finally {
      await bench.close()
      await proxy.stop()
      await broker.stop()
    }
  }))

test('few records wait for more, but no longer than they may', async () => {
  const bench = await UpstreamBench.open()
  const broker = await MiniBroker.start()
  try {
    const envelope = { ...ENVELOPE, maxRecords: 10, lingerMs: 300 }
    bench.start(upstreamTo(broker.port, { envelope, topic: 'up' }))
    while (!bench.status().connected) await new Promise((resolve) => setTimeout(resolve, 5))
    const startedAt = performance.now()
    for (let i = 0; i < 3; i++) {
      await bench.write(1)
      await new Promise((resolve) => setTimeout(resolve, 30))
    }
    await bench.drained()
    assert.is(broker.received.length, 1, 'the three of them together')
    assert.ok(performance.now() - startedAt >= 290)
    await bench.write(10)
    await bench.drained()
    assert.is(broker.received.length, 2)
  } finally {
    await bench.close()
    await broker.stop()
  }
})

test.run()
