import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Offset, PartitionId } from '../../../src/record/record.js'
import { decodeUp, encodeDown } from '../../../src/replication/node-codec.js'
import {
  DOWN_TOPIC,
  type DownMessage,
  PROTOCOL_VERSION,
  type UpMessage,
} from '../../../src/replication/node-protocol.js'
import type { OriginEpoch } from '../../../src/replication/origin-epoch.js'
import type { MqttAddress } from '../../../src/replication/targets/mqtt-address.js'
import type { MqttConnectionEvents } from '../../../src/replication/targets/mqtt-connection.js'
import { NodeLink } from '../../../src/replication/targets/node-link.js'
import type { Packets } from '../../../src/replication/targets/publish-encoder.js'
import type { OfferedLane } from '../../../src/replication/targets/target.js'
import { FakeClock } from '../../helpers/fake-clock.js'
import { MemoryStream } from '../../helpers/memory-streams.js'
import { publishesIn } from './publishes-in.js'

const EPOCHS = { current: Buffer.alloc(16, 1), next: Buffer.alloc(16, 2) }
const WELCOME: DownMessage = {
  type: 'welcome',
  version: PROTOCOL_VERSION,
  nodeId: 'site',
  maxFrameBytes: 1 << 20,
  readsZstd: false,
}

/** A link whose connection is in the hands of the test. */
class Bench {
  readonly said: UpMessage[] = []
  readonly told: string[] = []
  readonly lanes: OfferedLane[] = []
  readonly link: NodeLink
  private events!: MqttConnectionEvents
  private wake = (): void => {}

  constructor() {
    const connection = {
      hasRoom: true,
      publish: (packets: Packets) => {
        this.said.push(decodeUp(publishesIn(packets)[0].payload))
        this.wake()
      },
      flush: () => {},
      end: () => {},
      reset: () => {},
    }
    const address = {
      connect: (events: MqttConnectionEvents) => {
        this.events = events
        return connection
      },
    }
    this.link = new NodeLink({
      nodeId: 'gw-17',
      originEpoch: { propose: async () => EPOCHS, confirmed: async () => {} } as unknown as OriginEpoch,
      gapsOf: () => [],
      groups: { groups: () => [], ofGroup: () => [] },
      originOf: ({ name }) => ({ origin: 'gw-17', stream: name, via: null }),
      address: address as unknown as MqttAddress,
      connectTimeoutMs: 1000,
      diverged: new Set(),
      events: {
        lanes: () => this.lanes,
        onPositions: (positions) => {
          for (const { stream, next } of positions) this.told.push(`${stream} from ${next}`)
        },
        onUp: () => this.told.push('up'),
        onAck: () => {},
        onRoom: () => {},
        onDown: () => this.told.push('down'),
      },
      onWelcome: () => {},
      clock: new FakeClock(),
    })
  }

  offer(name: string): void {
    const reader = new MemoryStream(name)
    this.lanes.push({ stream: name, partition: 0 as PartitionId, reader, cursor: 0 as Offset })
  }

  connected(): void {
    this.events.onConnected()
  }

  hear(message: DownMessage): void {
    const packet = {
      cmd: 'publish',
      topic: DOWN_TOPIC,
      payload: encodeDown(message),
      qos: 0,
      dup: false,
      retain: false,
    }
    this.events.onPacket(packet as Parameters<MqttConnectionEvents['onPacket']>[0])
  }

  async opensOf(count: number): Promise<string[]> {
    const opens = () => this.said.flatMap((one) => (one.type === 'open' ? [`${one.stream} on ${one.lane}`] : []))
    while (opens().length < count)
      await new Promise<void>((resolve) => {
        this.wake = resolve
      })
    return opens()
  }

  async until(what: string): Promise<void> {
    while (!this.told.includes(what)) await new Promise((resolve) => setImmediate(resolve))
  }
}

const opened = (lane: number): DownMessage => ({ type: 'opened', lane, positions: [{ epoch: 0, next: 0, tip: null }] })

test('a stream that comes while others are being opened is opened as well, once the link is up', async () => {
  const bench = new Bench()
  bench.offer('telemetry')
  bench.connected()
  while (bench.said.length === 0) await new Promise((resolve) => setImmediate(resolve))
  bench.hear(WELCOME)
  assert.equal(await bench.opensOf(1), ['telemetry on 0'])
  // The sender knows of no link yet to which it could announce it.
  bench.offer('alarms')
  bench.hear(opened(0))
  await bench.until('up')
  assert.equal(await bench.opensOf(2), ['telemetry on 0', 'alarms on 1'])
  bench.hear(opened(1))
  await bench.until('alarms from 0')
  assert.equal(bench.told, ['telemetry from 0', 'up', 'alarms from 0'])
})

test('a stream that comes over a link that is up is opened when it is announced, and none is opened twice', async () => {
  const bench = new Bench()
  bench.connected()
  while (bench.said.length === 0) await new Promise((resolve) => setImmediate(resolve))
  bench.hear(WELCOME)
  await bench.until('up')
  bench.offer('telemetry')
  bench.link.lanesAdded()
  bench.link.lanesAdded()
  bench.hear(opened(0))
  await bench.until('telemetry from 0')
  bench.offer('alarms')
  bench.link.lanesAdded()
  assert.equal(await bench.opensOf(2), ['telemetry on 0', 'alarms on 1'])
})

test.run()
