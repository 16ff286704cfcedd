// Work queues on the mirror of a gateway that was wiped: another incarnation takes the mirror's name, and with it the offsets.

import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { systemClock } from '../../src/base/clock.js'
import { silentLogger } from '../../src/base/logger.js'
import type { StartPosition } from '../../src/base/start-position.js'
import type { WaitForMessages } from '../../src/consumer/queue-words.js'
import { WorkQueues } from '../../src/consumer/work-queues.js'
import type { MirrorStream } from '../../src/log/mirror-stream.js'
import type { Offset, PartitionId } from '../../src/record/record.js'
import { encodeRecordBatch } from '../../src/record/record-batch-builder.js'
import { LevelStateStore } from '../../src/state/state-store.js'
import { openLog, recordOf, type TestLog } from '../helpers/open-log.js'
import { codeOf } from '../helpers/rejection.js'
import { tempDir } from '../helpers/temp-dir.js'

const P0 = 0 as PartitionId
const MIRROR = 'gw-17.telemetry'
const FORMER = `${MIRROR}.1`

class Site {
  private readonly directory = tempDir()
  private state!: LevelStateStore
  log!: TestLog
  queues!: WorkQueues

  static async open(): Promise<Site> {
    const site = new Site()
    await site.restart()
    return site
  }

  async restart(): Promise<void> {
    await this.close()
    this.log = await openLog(this.directory, [{ name: 'dead', topics: [] }])
    const directory = join(this.directory, 'queue-state')
    this.state = await LevelStateStore.open({ directory, logger: silentLogger, onFatal: () => {} })
    this.queues = await WorkQueues.open({
      streams: this.log.log,
      state: this.state,
      clock: systemClock,
      logger: silentLogger,
      configured: [
        { stream: MIRROR, group: 'limited', maxAttempts: 5, deadLetter: 'dead', visibilityTimeoutMs: 30_000 },
      ],
    })
  }

  async close(): Promise<void> {
    await this.queues?.stop()
    await this.log?.close()
    await this.state?.close()
  }

  /** The gateway's records `LIFE 0`, `LIFE 1`, …; another life takes the place of the one before. */
  async forward(life: string, count: number, { begins = false, partitions = 1 } = {}): Promise<MirrorStream> {
    const { mirrors } = this.log.log
    const places = Array.from({ length: partitions }, () => ({ base: 0, epoch: 0 }))
    const open = begins ? mirrors.begin : mirrors.open
    const mirror = await open.call(mirrors, 'gw-17', 'telemetry', places, 'gw-17')
    const base = mirror.nextOffset(P0)
    const records = Array.from({ length: count }, (_, i) => recordOf(`${life} ${base + i}`))
    if (count > 0) await mirror.appendBatch(P0, encodeRecordBatch(base as Offset, records, 0)).durable()
    return mirror
  }

  receive(
    stream = MIRROR,
    group = 'q',
    asked: { start?: StartPosition; waitMs?: number } = {},
    wait: WaitForMessages = async () => true,
  ) {
    const start: StartPosition = { at: 'earliest' }
    const request = { maxMessages: 100, maxBytes: 1 << 20, waitMs: 0, orderedByKey: false, start, ...asked }
    return this.queues.receive(stream, group, request, wait)
  }

  async values(stream = MIRROR, group = 'q', asked: { start?: StartPosition } = {}): Promise<string[]> {
    return (await this.receive(stream, group, asked)).messages.map(({ record }) => String(record.value))
  }

  async receipts(stream = MIRROR, group = 'q'): Promise<string[]> {
    return (await this.receive(stream, group)).messages.map(({ receipt }) => receipt)
  }
}

const namesOf = (life: string, count: number) => Array.from({ length: count }, (_, i) => `${life} ${i}`)

const withSite = (name: string, work: (site: Site) => Promise<void>): void => {
  test(name, async () => {
    const site = await Site.open()
    await work(site)
    await site.close()
  })
}

for (const restart of ['never', 'before the first receive', 'after it', 'before and after it']) {
  withSite(
    `all of the new mirror is delivered, and of the former one what was not done (restart: ${restart})`,
    async (site) => {
      await site.forward('A', 10)
      const receipts = await site.receipts()
      await site.queues.ack(MIRROR, 'q', receipts.slice(0, 8))
      await site.forward('B', 5, { begins: true })
      if (restart.startsWith('before')) await site.restart()
      const latest = { start: { at: 'latest' } } as const
      const got = await site.receive(MIRROR, 'q', latest)
      assert.equal(
        got.messages.map(({ record }) => String(record.value)),
        namesOf('B', 5),
      )
      await site.queues.ack(
        MIRROR,
        'q',
        got.messages.slice(0, 3).map(({ receipt }) => receipt),
      )
      await site.queues.nack(FORMER, 'q', receipts.slice(8), { delayMs: 0, reason: '', deadLetter: false })
      if (restart.endsWith('after it')) await site.restart()
      else
        await site.queues.nack(
          MIRROR,
          'q',
          got.messages.slice(3).map(({ receipt }) => receipt),
          {
            delayMs: 0,
            reason: '',
            deadLetter: false,
          },
        )
      assert.equal(await site.values(FORMER), ['A 8', 'A 9'])
      assert.equal(await site.values(MIRROR), ['B 3', 'B 4'])
      await site.forward('B', 1)
      assert.equal(await site.values(MIRROR), ['B 5'])
      assert.equal(await site.values(FORMER), [])
    },
  )
}

withSite(
  'a receipt of the former mirror is stale under the name of the new one, and counts under its own',
  async (site) => {
    await site.forward('A', 3)
    const [first, second, third] = await site.receipts()
    await site.forward('B', 3, { begins: true })
    const stale = (receipt: string) => ({ done: 0, stale: [receipt] })
    const nothing = { delayMs: 0, reason: '', deadLetter: false }
    assert.equal(await site.queues.ack(MIRROR, 'q', [first]), stale(first), 'before there is anything of the new one')
    assert.is((await site.values()).length, 3)
    assert.equal(await site.queues.ack(MIRROR, 'q', [first]), stale(first))
    // After a restart nobody has what was handed out: then any receipt of a message is good for it.
    await site.restart()
    assert.equal(await site.queues.ack(MIRROR, 'q', [first]), stale(first))
    assert.equal(await site.queues.nack(MIRROR, 'q', [second], nothing), stale(second))
    assert.equal(site.queues.extend(MIRROR, 'q', [third], 1_000), stale(third))
    assert.equal(await site.values(), namesOf('B', 3), 'nothing of it is done')
    assert.equal(await site.queues.ack(FORMER, 'q', [first, second]), { done: 2, stale: [] })
    assert.equal(await site.values(FORMER), ['A 2'])
  },
)

withSite('a receipt of the new mirror is stale under the name of the former one', async (site) => {
  await site.forward('A', 3)
  await site.receive()
  await site.forward('B', 3, { begins: true })
  const [receipt] = await site.receipts()
  await site.restart()
  assert.equal(await site.queues.ack(FORMER, 'q', [receipt]), { done: 0, stale: [receipt] })
  assert.equal(await site.queues.ack(MIRROR, 'q', [receipt]), { done: 1, stale: [] })
})

withSite('a receipt of a partition that the new mirror does not have is stale, not a mistake', async (site) => {
  const before = await site.forward('A', 1, { partitions: 2 })
  await before.appendBatch(1 as PartitionId, encodeRecordBatch(0 as Offset, [recordOf('other')], 0)).durable()
  const receipts = await site.receipts()
  assert.is(receipts.length, 2)
  await site.forward('B', 1, { begins: true })
  assert.equal((await site.queues.ack(MIRROR, 'q', receipts)).stale.length, 2)
})

withSite('a receive that waits ends when the mirror is replaced, and hands out nothing of it', async (site) => {
  await site.forward('A', 1)
  await site.queues.ack(MIRROR, 'q', await site.receipts())
  let waits = (): void => {}
  const isWaiting = new Promise<void>((resolve) => {
    waits = resolve
  })
  const wait: WaitForMessages = ({ ready, subscribe }) =>
    new Promise((resolve) => {
      waits()
      const end = subscribe(() => {
        if (!ready()) return
        end()
        resolve(true)
      })
    })
  const waiting = site.receive(MIRROR, 'q', { waitMs: 60_000 }, wait)
  await isWaiting
  await site.forward('B', 2, { begins: true })
  assert.equal(await waiting, { messages: [], lost: [] })
  assert.equal(await site.values(), namesOf('B', 2))
})

withSite('dead letters go back to the queue of the mirror that they are of', async (site) => {
  const giveUp = async (stream: string, count: number): Promise<void> => {
    const receipts = (await site.receipts(stream, 'limited')).slice(0, count)
    await site.queues.nack(stream, 'limited', receipts, { delayMs: 0, reason: '', deadLetter: true })
  }
  await site.forward('A', 3)
  await giveUp(MIRROR, 2)
  await site.forward('B', 3, { begins: true })
  // One more of the former mirror, under the name that it has now.
  await site.restart()
  await giveUp(FORMER, 1)
  await site.queues.ack(MIRROR, 'limited', await site.receipts(MIRROR, 'limited'))
  assert.equal(await site.queues.redrive(MIRROR, 'limited', 100), { redriven: 0, gone: 0 })
  await site.forward('B', 3)
  await giveUp(MIRROR, 3)
  assert.equal(await site.queues.redrive(MIRROR, 'limited', 1), { redriven: 1, gone: 0 })
  await site.restart()
  assert.equal(await site.queues.redrive(MIRROR, 'limited', 100), { redriven: 2, gone: 0 })
  assert.equal(await site.queues.redrive(FORMER, 'limited', 100), { redriven: 3, gone: 0 })
  assert.equal(await site.values(MIRROR, 'limited'), ['B 3', 'B 4', 'B 5'])
  assert.equal(await site.values(FORMER, 'limited'), namesOf('A', 3))
})

withSite('mirrors may be replaced again and again', async (site) => {
  await site.forward('A', 2)
  await site.queues.ack(MIRROR, 'q', await site.receipts())
  await site.forward('B', 2, { begins: true })
  await site.forward('C', 2, { begins: true })
  await site.restart()
  assert.equal(await site.values(), namesOf('C', 2))
  await site.forward('D', 2, { begins: true })
  assert.equal(await site.values(), namesOf('D', 2))
  assert.equal(
    site.queues.list().map(({ stream, backlog }) => [stream, backlog]),
    [
      [MIRROR, 0],
      [FORMER, 0],
      [`${MIRROR}.3`, 0],
    ],
  )
})

withSite('a queue is listed under both names at once, before anybody has asked for messages', async (site) => {
  await site.forward('A', 2)
  await site.queues.ack(MIRROR, 'q', await site.receipts())
  await site.forward('B', 3, { begins: true })
  const listed = () => site.queues.list().map(({ stream, backlog }) => [stream, backlog])
  const expected = [
    [MIRROR, 3],
    [FORMER, 0],
  ]
  assert.equal(listed(), expected)
  await site.restart()
  assert.equal(listed(), expected)
})

withSite(
  'a removed queue does not come back for a former mirror’s sake, and a new one begins where it is told',
  async (site) => {
    await site.forward('A', 2)
    await site.receive()
    await site.forward('B', 2, { begins: true })
    await site.queues.remove(MIRROR, 'q')
    await site.restart()
    assert.is(await codeOf(() => site.queues.describe(MIRROR, 'q')), 'GROUP_ID_NOT_FOUND')
    await site.forward('C', 2, { begins: true })
    assert.is(await codeOf(() => site.queues.describe(MIRROR, 'q')), 'GROUP_ID_NOT_FOUND')
    assert.equal(await site.values(MIRROR, 'q', { start: { at: 'latest' } }), [])
    await site.restart()
    await site.forward('C', 1)
    assert.equal(await site.values(), ['C 2'])
    await site.queues.remove(MIRROR, 'q')
    await site.receive()
    await site.queues.remove(FORMER, 'q')
    assert.equal(
      site.queues.list().map(({ stream }) => stream),
      [MIRROR],
    )
  },
)

withSite('removing the queue of the former mirror leaves its successor', async (site) => {
  await site.forward('A', 2)
  await site.receive()
  await site.forward('B', 2, { begins: true })
  await site.queues.remove(FORMER, 'q')
  await site.restart()
  assert.equal(await site.values(MIRROR, 'q', { start: { at: 'latest' } }), namesOf('B', 2))
})

test.run()
