import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { SluiceError } from '../../src/base/errors.js'
import { silentLogger } from '../../src/base/logger.js'
import type { PartitionId } from '../../src/record/record.js'
import type { RepublishedMirror } from '../../src/replication/republisher.js'
import { Republisher, type RepublisherOptions } from '../../src/replication/republisher.js'
import type { LedgerEntry } from '../../src/state/ledger.js'
import { LevelStateStore } from '../../src/state/state-store.js'
import { eventually } from '../helpers/eventually.js'
import { FakeClock } from '../helpers/fake-clock.js'
import { MemoryStream } from '../helpers/memory-streams.js'
import { tempDir } from '../helpers/temp-dir.js'

type Mirror = MemoryStream & RepublishedMirror

function mirrorOf(origin: string, stream = 'telemetry', incarnation = 1, partitions = 1): Mirror {
  const local = Array.from({ length: partitions }, (_, partition) => partition)
  const memory = new MemoryStream(`${origin}.${stream}`, partitions)
  return Object.assign(memory, { origin, stream, incarnation, local: local as PartitionId[] })
}

function record(n: number) {
  return { topic: 'a', value: `${n}` }
}

interface Site {
  readonly mirrors: Mirror[]
  /** Those others have taken the place of. */
  readonly former: Mirror[]
  readonly published: string[]
  readonly ledger: LedgerEntry[]
  readonly clock: FakeClock
  /** Thrown for the next messages, in order; undefined: taken. */
  readonly refusals: (SluiceError | undefined)[]
  listen(): void
  start(mirrors?: readonly string[], topic?: string): Promise<Republisher>
}

async function withSite(run: (site: Site) => Promise<void>): Promise<void> {
  const state = await LevelStateStore.open({ directory: tempDir(), logger: silentLogger, onFatal: () => {} })
  const listeners = new Set<() => void>()
  const commit = { durable: async () => {} }
  const started: Republisher[] = []
  const site: Site = {
    ...{ mirrors: [], former: [], published: [], ledger: [], clock: new FakeClock(), refusals: [] },
    listen: () => {
      for (const listener of listeners) listener()
    },
    async start(mirrors = ['*.telemetry'], topic = '{topic}') {
      const options: RepublisherOptions = {
        ...{ mirrors, topic, state, clock: site.clock, logger: silentLogger },
        catalog: {
          list: () => site.mirrors,
          former: () => site.former,
          onChanged: (listener) => {
            listeners.add(listener)
            return () => listeners.delete(listener)
          },
        },
        publish: ({ mqttTopic, payload, qos }, { id, epoch, sequence }) => {
          const refusal = site.refusals.shift()
          if (refusal !== undefined) throw refusal
          assert.is(epoch, 0)
          site.published.push(`${mqttTopic}=${Buffer.from(payload)} q${qos} ${id} ${sequence}`)
          return { commit }
        },
        ledger: {
          add: async (entries) => {
            site.ledger.push(...entries)
          },
        },
      }
      const republisher = await Republisher.start(options)
      started.push(republisher)
      return republisher
    },
  }
  try {
    await run(site)
  } finally {
    for (const republisher of started) await republisher.stop()
    await state.close()
  }
}

/** Another takes the place of a mirror. */
function replace(site: Site, index: number): Mirror {
  const before = site.mirrors[index]
  const { name, origin, stream, incarnation } = before
  site.former.push(Object.assign(before, { name: `${name}.${incarnation}` }))
  site.mirrors[index] = mirrorOf(origin, stream, incarnation + 1)
  site.listen()
  return site.mirrors[index]
}

const rowsOf = ({ ledger }: Site): string[] =>
  ledger.map(({ destination, stream, firstOffset, lastOffset, reason }) =>
    [destination, stream, firstOffset, lastOffset, reason].join(' '),
  )

const values = ({ published }: Site): string[] => published.map((row) => row.slice(0, row.indexOf(' ')))

test('a mirror that is listed for the first time begins at its end, one that comes later at its beginning', () =>
  withSite(async (site) => {
    site.mirrors.push(mirrorOf('gw-1'), mirrorOf('gw-2', 'alarms'))
    site.mirrors[0].add(0, record(1))
    site.mirrors[1].add(0, record(2))
    await site.start(['*.telemetry'], '{origin}/{stream}/{topic}')
    site.mirrors[0].add(0, record(3))
    const later = mirrorOf('gw-3')
    later.add(0, record(4))
    site.mirrors.push(later)
    site.listen()
    await eventually('two', () => site.published.length === 2)
    assert.equal([...site.published].sort(), [
      'gw-1/telemetry/a=3 q1 republish/gw-1.telemetry.1/0 1',
      'gw-3/telemetry/a=4 q1 republish/gw-3.telemetry.1/0 0',
    ])
  }))

test('after a restart it goes on where it was; what was not listed meanwhile begins at the end again', () =>
  withSite(async (site) => {
    const mirror = mirrorOf('gw-1')
    site.mirrors.push(mirror)
    const first = await site.start()
    mirror.add(0, record(1), record(2))
    await eventually('both', () => site.published.length === 2)
    await first.stop()
    mirror.add(0, record(3))
    const second = await site.start()
    await eventually('the third', () => site.published.length === 3)
    await second.stop()
    await (await site.start([])).stop()
    mirror.add(0, record(4))
    await site.start()
    mirror.add(0, record(5))
    await eventually('the fifth', () => site.published.length === 4)
    assert.equal(values(site), ['a=1', 'a=2', 'a=3', 'a=5'])
  }))

test('what retention has taken before it was republished is in the ledger, and the rest goes on', () =>
  withSite(async (site) => {
    const mirror = mirrorOf('gw-1')
    site.mirrors.push(mirror)
    const first = await site.start()
    await first.stop()
    mirror.add(0, record(0))
    mirror.add(0, record(1))
    mirror.add(0, record(2))
    mirror.dropBelow(0, 2)
    await site.start()
    await eventually('the rest', () => site.published.length === 1)
    assert.equal(values(site), ['a=2'])
    assert.equal(rowsOf(site), ['subscribers gw-1.telemetry 0 1 retention'])
  }))

test('what the log does not take now is offered again, in its place', () =>
  withSite(async (site) => {
    const mirror = mirrorOf('gw-1')
    site.mirrors.push(mirror)
    await site.start()
    site.refusals.push(
      undefined,
      new SluiceError('TOO_MANY_REQUESTS', 'in a moment'),
      new SluiceError('STORAGE_FULL', 'the disk is full'),
    )
    mirror.add(0, record(1), record(2), record(3))
    await eventually('the first', () => site.published.length === 1)
    for (let waits = 0; waits < 2; waits++) await site.clock.advance(200)
    await eventually('all', () => site.published.length === 3)
    assert.equal(values(site), ['a=1', 'a=2', 'a=3'])
    assert.equal(site.ledger, [])
  }))

test('what can be published nowhere is in the ledger, and holds nothing up', () =>
  withSite(async (site) => {
    const mirror = mirrorOf('gw-1')
    site.mirrors.push(mirror)
    await site.start()
    site.refusals.push(undefined, new SluiceError('INVALID_TOPIC', 'topic is none'))
    mirror.add(0, record(1), record(2), record(3))
    await eventually('the others', () => site.published.length === 2)
    assert.equal(values(site), ['a=1', 'a=3'])
    assert.equal(
      site.ledger.map(({ firstOffset, lastOffset, reason }) => [firstOffset, lastOffset, reason]),
      [[1, 1, 'rejected']],
    )
  }))

test('where a new mirror has taken the place of another, its records are republished from the beginning under numbers of their own', () =>
  withSite(async (site) => {
    const before = mirrorOf('gw-1')
    site.mirrors.push(before)
    await site.start()
    before.add(0, record(1))
    await eventually('one', () => site.published.length === 1)
    const after = replace(site, 0)
    after.add(0, record(3))
    await eventually('two', () => site.published.length === 2)
    assert.match(site.published[1], 'a=3 q1 republish/gw-1.telemetry.2/0 0')
    assert.equal(site.ledger, [], 'all of the former one was republished')
  }))

test('what of a mirror was not republished when another took its place is in the ledger, once', () =>
  withSite(async (site) => {
    const before = mirrorOf('gw-1')
    site.mirrors.push(before)
    const republisher = await site.start()
    site.refusals.push(undefined, new SluiceError('STORAGE_FULL', 'the disk is full'))
    before.add(0, record(1))
    await eventually('one', () => site.published.length === 1)
    before.add(0, record(2), record(3))
    await eventually('the refusal', () => site.refusals.length === 0)
    replace(site, 0).add(0, record(4))
    await eventually('the new one', () => site.published.length === 2)
    await republisher.stop()
    await site.start()
    assert.equal(values(site), ['a=1', 'a=4'])
    assert.equal(rowsOf(site), ['subscribers gw-1.telemetry.1 1 2 replaced'])
  }))

test('the same of one that was replaced when the node ended, as far as it had been saved', () =>
  withSite(async (site) => {
    const before = mirrorOf('gw-1')
    site.mirrors.push(before)
    const republisher = await site.start()
    before.add(0, record(1))
    await eventually('one', () => site.published.length === 1)
    await republisher.stop()
    before.add(0, record(2), record(3))
    replace(site, 0)
    for (let starts = 0; starts < 2; starts++) await (await site.start()).stop()
    assert.equal(rowsOf(site), ['subscribers gw-1.telemetry.1 1 2 replaced'])
  }))

test.run()
