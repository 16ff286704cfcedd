import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { DeviceRegistry } from '../../firmware-bridge/devices/device-registry.js'
import { ReplayWindow } from '../../firmware-bridge/devices/replay-window.js'
import { Logger } from '../../src/index.js'
import { withSeed } from '../helpers/seeded-random.js'
import { MemoryTable } from './memory-table.js'

const quiet = new Logger('test', 'error', () => {})

test('what is known of a device survives a restart, also after a save that failed', async () => {
  const table = new MemoryTable<never>()
  let nowMs = 1000
  const open = () => DeviceRegistry.open({ wallMs: () => nowMs, table, logger: quiet })
  const before = await open()
  const pump = before.device('bus', 'serial', 'pump', '/dev/ttyUSB0')
  pump.count('published')
  pump.reject('too_large')
  table.failing = true
  await before.save()
  assert.is(table.rows.size, 0)
  table.failing = false
  nowMs = 2000
  before.heard(pump)
  pump.report = { batteryPercent: 80, signalDbm: -71 }
  await before.stop()

  const after = await open()
  const [found] = after.list()
  assert.equal(found, {
    id: 'pump',
    line: 'bus',
    kind: 'serial',
    address: null,
    connected: false,
    firstSeenMs: 1000,
    lastSeenMs: 2000,
    batteryPercent: 80,
    batteryMillivolts: null,
    signalDbm: -71,
    published: 1,
    resends: 0,
    gaps: 0,
    crcErrors: 0,
    delivered: 0,
    rejected: { too_large: 1 },
  })
  await after.stop()
})

test('at most so many devices are remembered: the one not heard of for longest goes, from the disk too', async () => {
  const table = new MemoryTable<never>()
  const registry = await DeviceRegistry.open({ wallMs: () => 0, table, logger: quiet, maxDevices: 3 })
  for (const id of ['a', 'b', 'c', 'a', 'd']) {
    registry.device('bus', 'serial', id, '')
    await registry.save()
  }
  assert.equal(
    registry.list().map(({ id }) => id),
    ['a', 'c', 'd'],
  )
  assert.equal([...table.rows.keys()].sort(), ['bus/serial/a', 'bus/serial/c', 'bus/serial/d'])
  await registry.stop()
})

test('a number is accepted once, in any order within the window', () =>
  withSeed((random) => {
    const window = new ReplayWindow()
    const seen = new Set<number>()
    let highest = 0
    for (let round = 0; round < 20_000; round++) {
      const number = Math.max(1, highest - 80 + random.below(random.chance(0.01) ? 400 : 85))
      const fresh = !seen.has(number) && number > highest - 64
      assert.is(window.accept(number), fresh, `${number} after ${highest}`)
      seen.add(number)
      highest = Math.max(highest, number)
    }
    for (const number of [0, -1, 1.5, 2 ** 32, Number.NaN]) assert.is(window.accept(number), false)
  }))

test.run()
