import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { SluiceError } from '../../src/base/errors.js'
import type { MirrorStream } from '../../src/log/mirror-stream.js'
import type { Offset, PartitionId } from '../../src/record/record.js'
import { encodeRecordBatch } from '../../src/record/record-batch-builder.js'
import { openMirror } from '../../src/replication/mirror-opening.js'
import type { Open } from '../../src/replication/node-protocol.js'
import { MiniBroker } from '../helpers/mini-broker.js'
import { openLog, recordOf } from '../helpers/open-log.js'
import { codeOf } from '../helpers/rejection.js'
import { tempDir } from '../helpers/temp-dir.js'
import { UpstreamBench, upstreamTo } from './upstream-bench.js'

const P0 = 0 as PartitionId
const BEGIN = [{ base: 0, epoch: 0 }]

/** Records `A 0`, `A 1`, … of one life of a mirror. */
async function append(mirror: MirrorStream, life: string, count: number): Promise<void> {
  const base = mirror.nextOffset(P0)
  const records = Array.from({ length: count }, (_, i) => recordOf(`${life} ${base + i}`))
  await mirror.appendBatch(P0, encodeRecordBatch(base as Offset, records, 0)).durable()
}

const namesOf = (life: string, count: number) => Array.from({ length: count }, (_, i) => `${life} ${i}`)

test('of a mirror that another has taken the place of nothing more is sent: what was not acknowledged is in the ledger, and the new one begins at its beginning', async () => {
  const broker = await MiniBroker.start()
  const bench = await UpstreamBench.open()
  const { mirrors } = bench.test.log
  const before = await mirrors.open('gw-17', 'telemetry', BEGIN, 'gw-17')
  await append(before, 'A', 5)
  bench.start(upstreamTo(broker.port, { streams: ['*.telemetry'] }))
  await bench.drained()
  broker.holdAcks = true
  await append(before, 'A', 3)
  await broker.until(() => broker.received.length === 8)

  await append(await mirrors.begin('gw-17', 'telemetry', BEGIN, 'gw-17'), 'B', 20)
  broker.releaseAcks()
  await broker.until(() => broker.received.at(-1)?.payload.toString() === 'B 19')
  await bench.drained()
  const payloads = broker.received.map(({ payload }) => payload.toString())
  assert.equal(payloads, [...namesOf('A', 8), ...namesOf('B', 20)])
  const rows = bench.test.ledger.list()
  assert.equal(
    rows.map(({ destination, stream, firstOffset, lastOffset, reason }) => [
      destination,
      stream,
      firstOffset,
      lastOffset,
      reason,
    ]),
    [['cloud', 'gw-17.telemetry.1', 5, 7, 'replaced']],
  )
  const [partition, ...others] = bench.status().partitions
  assert.equal(others, [], 'the former one is no longer shown')
  assert.equal([partition.stream, partition.nextOffset], ['gw-17.telemetry', 20])

  // A restart neither sends the former one again nor what of the new one was acknowledged.
  await bench.upstreams?.stop()
  await bench.reopen()
  const again = bench.test.log.mirrors.find('gw-17', 'telemetry') as MirrorStream
  bench.start(upstreamTo(broker.port, { streams: ['*.telemetry'] }))
  await append(again, 'B', 1)
  await broker.until(() => broker.received.at(-1)?.payload.toString() === 'B 20')
  assert.is(broker.received.length, 29)
  await bench.close()
  await broker.stop()
})

test('what of a replaced mirror was acknowledged out of order is not in the ledger: only what lies between is', async () => {
  const bench = await UpstreamBench.open()
  const { log, cursors, ledger } = bench.test
  await append(await log.mirrors.open('gw-17', 'telemetry', BEGIN, 'gw-17'), 'A', 12)
  const acked = [
    { first: 5 as Offset, next: 7 as Offset },
    { first: 9 as Offset, next: 12 as Offset },
  ]
  await cursors.set('cloud', 'gw-17.telemetry', 0, 3 as Offset, acked)
  await log.mirrors.begin('gw-17', 'telemetry', BEGIN, 'gw-17')
  assert.equal(
    ledger.list().map(({ stream, firstOffset, lastOffset, reason }) => [stream, firstOffset, lastOffset, reason]),
    [
      ['gw-17.telemetry.1', 3, 4, 'replaced'],
      ['gw-17.telemetry.1', 7, 8, 'replaced'],
    ],
  )
  assert.equal(cursors.acked('cloud', 'gw-17.telemetry', 0), [], 'the new one inherits none')
  await bench.close()
})

test('a mirror of another origin goes on while one is replaced', async () => {
  const broker = await MiniBroker.start()
  const bench = await UpstreamBench.open()
  const { mirrors } = bench.test.log
  const other = await mirrors.open('gw-2', 'telemetry', BEGIN, 'gw-2')
  await mirrors.open('gw-17', 'telemetry', BEGIN, 'gw-17')
  bench.start(upstreamTo(broker.port, { streams: ['*.telemetry'] }))
  await append(other, 'other', 10)
  await mirrors.begin('gw-17', 'telemetry', BEGIN, 'gw-17')
  await append(other, 'other', 10)
  await broker.until(() => broker.received.at(-1)?.payload.toString() === 'other 19')
  await bench.drained()
  const distinct = new Set(broker.received.map(({ payload }) => payload.toString()))
  assert.equal([...distinct], [...namesOf('other', 20)])
  assert.equal(bench.test.ledger.list(), [])
  await bench.close()
  await broker.stop()
})

test('a mirror that the disk did not let be replaced is replaced when its origin comes again, and that is said', async () => {
  let refuses = true
  const renameStream = async (): Promise<void> => {
    if (refuses) throw new SluiceError('STORAGE_FULL', 'refused')
  }
  const node = await openLog(tempDir(), [], { groupOffsets: { renameStream, streams: () => [] } })
  await append(await node.log.mirrors.open('gw-17', 'telemetry', BEGIN, 'gw-17'), 'A', 5)
  // The origin has less than is here.
  const partitions = [{ start: 0, cursor: 0, end: 3, epoch: 0, tip: null }]
  const offered: Open = { type: 'open', lane: 0, origin: 'gw-17', stream: 'telemetry', fresh: false, partitions }
  const open = () => openMirror(node.log.mirrors, offered, 'gw-17', false)
  assert.is(await codeOf(open()), 'STORAGE_FULL')
  refuses = false
  const { mirror, alarm } = await open()
  assert.equal([mirror.incarnation, mirror.highWatermark(P0)], [2, 0])
  assert.match(alarm ?? '', /the old one is gw-17\.telemetry\.1/)
  assert.is((await open()).alarm, null, 'once')
  await node.close()
})

test.run()
