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

const KILLS = 20
const RECORDS_PER_LIFE = 20_000
const RECORDS_OF_LAST_LIFE = 1000

test(`a forwarder killed ${KILLS} times at random moments, on a link that is cut, loses nothing, keeps the order and repeats no more than one window`, () =>
  withSeed(async (random) => {
    const directory = tempDir()
    const broker = await MiniBroker.start()
    const proxy = await TcpProxy.start(broker.port)
    const start = (records: number): Program =>
      new Program(process.execPath, [
        join(import.meta.dirname, 'forwarder.js'),
        ...[directory, String(proxy.port), String(records), 'in_order'],
      ])
    for (let round = 0; round < KILLS; round++) {
      const forwarder = start(RECORDS_PER_LIFE)
      await forwarder.waitFor(/^open/m, 'stdout')
      await wait(random.below(150))
      if (random.chance(0.5)) proxy.cutAfter(random.below(5000), random.chance(0.5) ? 'up' : 'down')
      await wait(random.below(50))
      const { signal } = await forwarder.stop('SIGKILL')
      assert.is(signal, 'SIGKILL', forwarder.stderr)
    }
    const last = start(RECORDS_OF_LAST_LIFE)
    await last.waitFor(/^drained/m, 'stdout', 60_000)
    await last.stop('SIGKILL')
    const next = Array.from({ length: FORWARDER.partitions }, () => 0)
    let furthestBack = 0
    for (const { payload } of broker.received) {
      const [partition, offset] = payload.toString().split(' ').map(Number)
      assert.ok(offset <= next[partition], `${partition}/${offset} came when ${next[partition]} was due`)
      furthestBack = Math.max(furthestBack, next[partition] - offset)
      next[partition] = Math.max(next[partition], offset + 1)
    }
    for (const [, partition, end] of last.stdout.matchAll(/^end (\d) (\d+)$/gm))
      assert.is(next[Number(partition)], Number(end), `partition ${partition} has all of the log`)
    const stored = next.reduce((sum, end) => sum + end, 0)
    assert.ok(stored > RECORDS_OF_LAST_LIFE, 'the lives that were cut short had stored something, too')
    assert.ok(furthestBack <= FORWARDER.maxInFlight, `went back by ${furthestBack}`)
    console.log(`${stored} records, ${broker.received.length - stored} repeated, at most ${furthestBack} back`)
    await proxy.stop()
    await broker.stop()
  }))

test.run()
