// test-run: limit 240 s
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { MiniBroker } from '../helpers/mini-broker.js'
import { Program } from '../helpers/program.js'
import { withSeed } from '../helpers/seeded-random.js'
import { TcpProxy } from '../helpers/tcp-proxy.js'
import { tempDir } from '../helpers/temp-dir.js'
import { FORWARDER } from './forwarder-setup.js'

const KILLS = 8
const RECORDS_PER_LIFE = 2000

test(`a forwarder of new records first, killed ${KILLS} times on a link that is cut, loses nothing and repeats a window a time`, () =>
  withSeed(async (random) => {
    const directory = tempDir()
    const broker = await MiniBroker.start()
    const proxy = await TcpProxy.start(broker.port)
    const start = (records: number): Program =>
      new Program(process.execPath, [
        join(import.meta.dirname, 'forwarder.js'),
        ...[directory, String(proxy.port), String(records), 'live_first'],
      ])
    let cuts = 0
    // So that each life leaves a backlog to the next.
    proxy.throttle(20_000)
    for (let round = 0; round < KILLS; round++) {
      const forwarder = start(RECORDS_PER_LIFE)
      await forwarder.waitFor(/^open/m, 'stdout')
      await wait(random.below(300))
      if (random.chance(0.5)) {
        cuts += 1
        proxy.cutAfter(random.below(5000), random.chance(0.5) ? 'up' : 'down')
      }
      await wait(random.below(100))
      assert.is((await forwarder.stop('SIGKILL')).signal, 'SIGKILL', forwarder.stderr)
    }
    proxy.throttle(null)
    const last = start(1000)
    await last.waitFor(/^drained/m, 'stdout', 120_000)
    await last.stop('SIGKILL')
    const times = Array.from({ length: FORWARDER.partitions }, () => new Map<number, number>())
    let overtaken = 0
    let highest = -1
    for (const { payload } of broker.received) {
      const [partition, offset] = payload.toString().split(' ').map(Number)
      const seen = times[partition].get(offset) ?? 0
      times[partition].set(offset, seen + 1)
      if (partition !== 0 || seen > 0) continue
      if (offset < highest) overtaken += 1
      highest = Math.max(highest, offset)
    }
    let stored = 0
    for (const [, partition, end] of last.stdout.matchAll(/^end (\d) (\d+)$/gm)) {
      for (let offset = 0; offset < Number(end); offset++)
        assert.ok(times[Number(partition)].has(offset), `${partition}/${offset} of ${end} is lost`)
      stored += Number(end)
    }
    const repeated = broker.received.length - stored
    assert.ok(overtaken > 0, 'new records went ahead of what waited')
    assert.ok(repeated <= (KILLS + cuts) * FORWARDER.maxInFlight, `${repeated} arrived twice`)
    console.log(`${stored} records, ${overtaken} overtaken, ${repeated} repeated, ${KILLS} kills, ${cuts} cuts`)
    await proxy.stop()
    await broker.stop()
  }))

test.run()
