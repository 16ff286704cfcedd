import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { SluiceError } from '../../src/base/errors.js'
import type { UpstreamOptions } from '../../src/replication/upstream-options.js'
import { eventually } from '../helpers/eventually.js'
import type { MiniBroker } from '../helpers/mini-broker.js'
import { checkArrived, type UpstreamBench, upstreamTo, withBroker } from './upstream-bench.js'

/** Turns of the event loop in which anything that could still be sent would be. */
const TURNS = 2000

const withBench = (body: (bench: UpstreamBench, broker: MiniBroker) => Promise<void>): Promise<void> =>
  withBroker([{ name: 'telemetry', partitions: 3 }], body)

async function nothingMore(broker: MiniBroker, expected: number, atLeast = expected): Promise<void> {
  for (let turn = 0; turn < TURNS; turn++) {
    await new Promise((resolve) => setImmediate(resolve))
    assert.ok(broker.received.length <= expected, `${broker.received.length} were sent, ${expected} may be`)
  }
  assert.ok(broker.received.length >= atLeast, `${broker.received.length} were sent, ${atLeast} may be`)
}

for (const maxInFlight of [1, 2, 7, 100])
  test(`while no cursor reaches the disk a window of ${maxInFlight} is sent and no more, acknowledged or not`, () =>
    withBench(async (bench, broker) => {
      // Messages that go together must have room together.
      const atLeast = maxInFlight - Math.floor(maxInFlight / 64)
      await bench.write(400)
      let open: (() => void) | null = null
      let held: Promise<void> = Promise.resolve()
      const hold = (): void => {
        held = new Promise((resolve) => (open = resolve))
      }
      bench.beforeCursor = () => held
      bench.start(upstreamTo(broker.port, { maxInFlight }))
      hold()
      await eventually('a window was sent', () => broker.received.length >= atLeast, 60_000)
      await eventually('all of it was acknowledged', () => bench.status().inFlight === 0, 60_000)
      await nothingMore(broker, maxInFlight, atLeast)
      assert.is(bench.status().deliveredTotal, broker.received.length)
      open!()
      held = Promise.resolve()
      await bench.drained()
      const payloads = broker.received.map(({ payload }) => payload.toString())
      assert.is(checkArrived(payloads, 400, 0), 0)
    }))

test('cursors that cannot be written stop an upstream at one window, it says so, and it goes on by itself', () =>
  withBench(async (bench, broker) => {
    await bench.write(200)
    let failing = false
    bench.beforeCursor = async () => {
      if (failing) throw new SluiceError('STORAGE_FULL', 'no space left')
    }
    bench.start(upstreamTo(broker.port, { maxInFlight: 20 }))
    failing = true
    await eventually('it says so', () => bench.status().state === 'stalled', 60_000)
    assert.match(bench.status().lastError ?? '', /cursors cannot be saved: no space left/)
    await eventually('a window was sent', () => broker.received.length >= 20, 60_000)
    await nothingMore(broker, 20)
    failing = false
    await bench.drained()
    assert.is(bench.status().lastError, undefined)
  }))

const ENVELOPE: Partial<UpstreamOptions> = {
  topic: 'up',
  envelope: { format: 'json', gzip: false, maxBytes: 65_536, maxRecords: 10, lingerMs: 0 },
}

test('of envelopes, too, no more than a window is sent before a cursor reaches the disk', () =>
  withBench(async (bench, broker) => {
    await bench.write(1000)
    let open: (() => void) | null = null
    let held: Promise<void> = Promise.resolve()
    bench.beforeCursor = () => held
    bench.start(upstreamTo(broker.port, { maxInFlight: 5, ...ENVELOPE }))
    held = new Promise((resolve) => (open = resolve))
    await eventually('a window was sent', () => broker.received.length >= 5, 60_000)
    await nothingMore(broker, 5)
    open!()
    held = Promise.resolve()
    await bench.drained()
  }))

test.run()
