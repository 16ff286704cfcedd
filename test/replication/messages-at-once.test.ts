// In a large window several messages are one shipment (targets/mqtt.ts): what that must not change.

import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Offset, PartitionId } from '../../src/record/record.js'
import { MqttPacker, type MqttShipment } from '../../src/replication/targets/mqtt-packer.js'
import type { UpstreamOptions } from '../../src/replication/upstream-options.js'
import { eventually } from '../helpers/eventually.js'
import type { MiniBroker } from '../helpers/mini-broker.js'
import { publishesIn } from './targets/publishes-in.js'
import { batchOf } from './targets/target-contract.js'
import { checkArrived, type UpstreamBench, upstreamTo, withBroker } from './upstream-bench.js'

const WAIT_MS = 60_000
/** Fifteen messages at a time. */
const WINDOW: Partial<UpstreamOptions> = { maxInFlight: 1000 }

const withBench = (body: (bench: UpstreamBench, broker: MiniBroker) => Promise<void>): Promise<void> =>
  withBroker([{ name: 'telemetry', partitions: 2 }], body)

const payloadsOf = (broker: MiniBroker): string[] => broker.received.map(({ payload }) => payload.toString())

test('a broker whose acknowledgements wait for the next bytes that come is not left waiting', () =>
  withBench(async (bench, broker) => {
    broker.gatherAcks = true
    await bench.write(20_000)
    bench.start(upstreamTo(broker.port, WINDOW))
    await eventually('everything was sent', () => broker.received.length === 20_000, WAIT_MS)
    broker.releaseAcks()
    await bench.drained()
    assert.is(checkArrived(payloadsOf(broker), 20_000, 0), 0)
  }))

test('a broker that is slower with a shipment than the deadline, but acknowledges one message after the other, is not given up', () =>
  withBench(async (bench, broker) => {
    broker.ackEachMs = 100
    await bench.write(30)
    bench.start(upstreamTo(broker.port, { ...WINDOW, ackTimeoutMs: 1000 }))
    await bench.drained()
    assert.is(broker.connects.length, 1)
    assert.is(checkArrived(payloadsOf(broker), 30, 0), 0)
  }))

test('a link that is lost before a shipment is acknowledged as a whole gets somewhere all the same', () =>
  withBench(async (bench, broker) => {
    await bench.write(200)
    // Of each connection five messages are acknowledged, and no more.
    const acked = new Map<number, number>()
    broker.forget = ({ connection }) => {
      const before = acked.get(connection) ?? 0
      acked.set(connection, before + 1)
      return before >= 5
    }
    bench.start(upstreamTo(broker.port, { ...WINDOW, ackTimeoutMs: 50 }))
    await eventually('several connections were needed', () => broker.connects.length >= 4, WAIT_MS)
    assert.ok(bench.status().deliveredTotal >= 5, `${bench.status().deliveredTotal} delivered`)
    broker.forget = () => false
    await bench.drained()
    checkArrived(payloadsOf(broker), 200, 1000)
  }))

test('each message has the topic it would have alone', () =>
  withBench(async (bench, broker) => {
    await bench.write(300)
    bench.start(upstreamTo(broker.port, { ...WINDOW, topic: 'up/{node}/{stream}/{partition}/{offset}/{topic}' }))
    await bench.drained()
    for (const { mqttTopic, payload } of broker.received) {
      const [, partition, n] = /^telemetry\/(\d) (\d+)$/.exec(payload.toString()) ?? []
      assert.is(mqttTopic, `up/gw-17/telemetry/${partition}/${Math.floor(Number(n) / 2)}/sensors/${partition}`)
    }
    assert.is(broker.received.length, 300)
  }))

test('of a batch that does not parse nothing gets into what is packed next', () => {
  const options = { name: 'cloud', nodeId: 'gw-17', clientId: 'c', topic: '{topic}', maxPacketsPerShipment: 31 }
  const packer = new MqttPacker(options)
  const pack = (batch: Buffer) =>
    packer.pack({ stream: 'telemetry', partition: 0 as PartitionId }, [batch], 0 as Offset, 0 as Offset)
  const damaged = batchOf(0, ['a', 'b', 'c'])
  damaged[damaged.length - 1] = 2
  assert.throws(() => pack(damaged), /does not parse/)
  const packed = pack(batchOf(7, ['d', 'e'])) as MqttShipment[]
  assert.equal(
    packed.map(({ offset, packets }) => [offset, publishesIn(packets).map(({ payload }) => payload.toString())]),
    [[7, ['d', 'e']]],
  )
})

test.run()
