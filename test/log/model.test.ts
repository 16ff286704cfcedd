// A log against a plain model of it, through thousands of random steps: appends, commits, reads, cursors, retention, restarts, and copies of
// the directory taken at some moment, which is what a kill leaves. SLUICE_TEST_SEED repeats the steps of a run, SLUICE_TEST_STEPS its length.

import { cpSync, existsSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { SluiceError } from '../../src/base/errors.js'
import type { Commit, Stream } from '../../src/log/types.js'
import type { Offset, PartitionId } from '../../src/record/record.js'
import { decodeRecords } from '../../src/record/record-batch.js'
import { openLog, recordOf, type TestLog } from '../helpers/open-log.js'
import { codeOf } from '../helpers/rejection.js'
import { type SeededRandom, withSeed } from '../helpers/seeded-random.js'
import { tempDirInMemory } from '../helpers/temp-dir.js'

const STEPS = Number(process.env['SLUICE_TEST_STEPS'] ?? 3000)
const PARTITIONS = [0, 1, 2] as PartitionId[]
const MAX_BYTES = 1024 * 1024
const SEGMENT_BYTES = 256 * 1024
const STREAM = {
  name: 's',
  partitions: PARTITIONS.length,
  retention: { maxBytes: MAX_BYTES, maxAgeMs: null, onFull: 'drop_oldest' as const },
}
const OPTIONS = { segmentBytes: SEGMENT_BYTES, maxBatchBytes: 8 * 1024, destinations: ['cloud'] }

interface ModelRecord {
  readonly value: string
  readonly timestampMs: number
}

/** What a partition must be: every record ever appended to it, and how many of them were promised. */
interface ModelPartition {
  readonly records: ModelRecord[]
  acked: number
  cursor: number
}

class ModelledLog {
  readonly model: ModelPartition[] = PARTITIONS.map(() => ({ records: [], acked: 0, cursor: 0 }))
  readonly counts = new Map<string, number>()
  private directory = tempDirInMemory()
  private node!: TestLog
  private commits: Commit[] = []
  private life = 0

  constructor(private readonly random: SeededRandom) {}

  async start(): Promise<void> {
    this.node = await openLog(this.directory, [STREAM], OPTIONS)
    this.life += 1
    for (const partition of PARTITIONS) this.settleEnd(partition)
  }

  async step(): Promise<void> {
    const dice = this.random.below(1000)
    if (dice < 550) await this.take('append', () => this.append())
    else if (dice < 650) await this.take('commit', () => this.commit())
    else if (dice < 880) await this.take('read', () => this.read())
    else if (dice < 960) await this.take('cursor', () => this.moveCursor())
    else if (dice < 985) await this.take('check', () => this.check())
    else if (dice < 990) await this.take('restart', () => this.restart())
    else await this.take('kill', () => this.kill())
  }

  async end(): Promise<void> {
    await this.commit()
    await this.check()
    await this.node.close()
  }

  /** After a failure, which is what will be told. */
  async abandon(): Promise<void> {
    await this.node.close().catch(() => {})
  }

  private get stream(): Stream {
    return this.node.log.stream('s')
  }

  private async take(name: string, action: () => unknown): Promise<void> {
    this.counts.set(name, (this.counts.get(name) ?? 0) + 1)
    await action()
  }

  private async append(): Promise<void> {
    const partition = PARTITIONS[Math.min(this.random.below(3), this.random.below(3))]
    const { records } = this.model[partition]
    for (let burst = 1 + this.random.below(this.random.chance(0.1) ? 200 : 8); burst > 0; burst--) {
      if (!this.stream.hasRoom) await this.stream.whenRoom()
      const offset = this.stream.nextOffset(partition)
      assert.is(offset, records.length, 'offsets are given one after the other')
      const size = this.random.chance(0.02) ? this.random.below(30_000) : this.random.below(600)
      // Random timestamps too: devices' clocks are not in order.
      const record = { value: `${this.life}:${offset}:${'x'.repeat(size)}`, timestampMs: 1e12 + this.random.below(1e6) }
      records.push(record)
      const commit = this.stream.append(partition, recordOf(record.value, { timestampMs: record.timestampMs }))
      commit.onSettled((error) => {
        assert.is(error, null)
        this.model[partition].acked = Math.max(this.model[partition].acked, offset + 1)
      })
      if (this.commits.at(-1) !== commit) this.commits.push(commit)
    }
    if (this.commits.length > 50) await this.commit()
  }

  private async commit(): Promise<void> {
    await Promise.all(this.commits.map((commit) => commit.durable()))
    this.commits = []
  }

  private async read(): Promise<void> {
    const partition = PARTITIONS[this.random.below(3)]
    const { records } = this.model[partition]
    // Now and then near the end, as followers do: from memory, where the same must be found as on disk.
    const nearEnd = this.random.chance(0.5) ? Math.max(0, records.length - 50) : 0
    const from = (nearEnd + this.random.below(records.length + 3 - nearEnd)) as Offset
    const fromDisk = this.random.chance(0.5)
    const limits = { maxBytes: 1 + this.random.below(60_000), maxRecords: 1 + this.random.below(200), fromDisk }
    if (from < this.stream.logStartOffset(partition) || from > this.stream.highWatermark(partition)) {
      assert.is(await codeOf(this.stream.fetch(partition, from, limits)), 'OFFSET_OUT_OF_RANGE')
      return
    }
    const fetched = await this.stream.fetch(partition, from, limits).catch((error) => {
      this.assertOvertaken(error, partition, from)
      return null
    })
    if (fetched === null) return
    const { batches, nextOffset, highWatermark } = fetched
    const decoded = batches.flatMap((batch) => decodeRecords(batch, from))
    decoded.forEach(({ offset, value, timestampMs }, i) => {
      assert.is(offset, from + i)
      assert.is(value?.toString(), records[offset].value)
      assert.is(timestampMs, records[offset].timestampMs)
    })
    assert.is(nextOffset, from + decoded.length)
    assert.ok(decoded.length > 0 || from === highWatermark)
    const bytes = batches.reduce((sum, batch) => sum + batch.length, 0)
    assert.ok(bytes <= limits.maxBytes || batches.length === 1, `${bytes} bytes for a limit of ${limits.maxBytes}`)
    const before = batches.slice(0, -1).flatMap((batch) => decodeRecords(batch, from))
    assert.ok(before.length < limits.maxRecords, 'no batch more than it takes to reach the limit')
  }

  /** The one reason why reading what was there may fail. */
  private assertOvertaken(error: SluiceError, partition: PartitionId, from: number): void {
    assert.is(error.code, 'OFFSET_OUT_OF_RANGE', String(error))
    assert.ok(from < this.stream.logStartOffset(partition))
    assert.is(error.details.logStartOffset, this.stream.logStartOffset(partition))
  }

  private async moveCursor(): Promise<void> {
    const partition = PARTITIONS[this.random.below(3)]
    const model = this.model[partition]
    const next = model.cursor + this.random.below(model.acked - model.cursor + 1)
    await this.node.cursors.set('cloud', 's', partition, next as Offset)
    model.cursor = next
  }

  /** All that is stored is right; all that is gone was delivered or is in the ledger; time finds what the model finds. */
  private async check(): Promise<void> {
    for (const partition of PARTITIONS) {
      const { records, acked, cursor } = this.model[partition]
      const { stream } = this
      const highWatermark = stream.highWatermark(partition)
      assert.ok(highWatermark >= acked && highWatermark <= records.length)
      let next = stream.logStartOffset(partition)
      while (next < highWatermark) {
        if (next < stream.logStartOffset(partition)) next = stream.logStartOffset(partition)
        const fetched = await stream.fetch(partition, next, { maxBytes: 100_000 }).catch((error) => {
          this.assertOvertaken(error, partition, next)
          return null
        })
        if (fetched === null) continue
        const { batches, nextOffset } = fetched
        for (const record of batches.flatMap((batch) => decodeRecords(batch, next))) {
          assert.is(record.value?.toString(), records[record.offset].value)
        }
        next = nextOffset
      }
      const rows = this.node.ledger.list().filter((row) => row.partition === partition)
      for (const { destination, reason, firstOffset, lastOffset, records: count } of rows) {
        assert.equal([destination, reason, count], ['cloud', 'retention', lastOffset - firstOffset + 1])
      }
      for (let offset = cursor; offset < stream.logStartOffset(partition); offset++) {
        const named = rows.some(({ firstOffset, lastOffset }) => firstOffset <= offset && offset <= lastOffset)
        assert.ok(named, `${partition}/${offset} was dropped in silence`)
      }
    }
    // One segment may be over the limit before retention takes another, and one is being written.
    const { bytes } = this.stream.stats()
    assert.ok(bytes <= MAX_BYTES + 2 * SEGMENT_BYTES, `${bytes} bytes stored`)
    assert.equal(this.node.fatal, [])
  }

  private async restart(): Promise<void> {
    await this.commit()
    await this.node.close()
    const ends = this.model.map(({ records }) => records.length)
    await this.start()
    assert.equal(
      this.model.map(({ records }) => records.length),
      ends,
      'a clean restart loses nothing at all',
    )
  }

  /** Goes on with a copy of the directory. LevelDB's writes are under way while it is taken; its flushes are waited for. */
  private async kill(): Promise<void> {
    let copy: string | null = null
    let acked: number[] = []
    while (copy === null) {
      await new Promise((resolve) => setImmediate(resolve))
      acked = this.model.map((partition) => partition.acked)
      if (this.isSettled()) copy = copyOf(this.directory)
    }
    await this.commit()
    await this.node.close()
    rmSync(this.directory, { recursive: true })
    this.directory = copy
    this.model.forEach((partition, i) => {
      partition.acked = acked[i]
    })
    await this.start()
  }

  /** Files of a flush would be copied at different moments, which no kill does. */
  private isSettled(): boolean {
    const directory = join(this.directory, 'streams', 's')
    const born = readdirSync(directory).filter((name) => existsSync(join(directory, name, 'live')))
    return born.slice(0, -1).every((name) => existsSync(join(directory, name, 'sealed')))
  }

  /** What was appended and not promised may be there or not; from then on it is as the log says. */
  private settleEnd(partition: PartitionId): void {
    const { records, acked, cursor } = this.model[partition]
    const end = this.stream.nextOffset(partition)
    assert.ok(end >= acked && end <= records.length, `ends at ${end}; ${acked} promised, ${records.length} appended`)
    records.length = end
    this.model[partition].acked = end
    assert.is(this.node.cursors.get('cloud', 's', partition) ?? 0, cursor)
  }
}

/** @returns null if a database that was being opened meanwhile has removed a file. */
function copyOf(directory: string): string | null {
  const copy = tempDirInMemory()
  try {
    cpSync(directory, copy, { recursive: true })
    return copy
  } catch (error) {
    assert.is((error as NodeJS.ErrnoException).code, 'ENOENT')
    return null
  }
}

test(`a log does what its model does, for ${STEPS} random steps`, async () => {
  await withSeed(async (random) => {
    const log = new ModelledLog(random)
    await log.start()
    for (let step = 0; step < STEPS; step++) {
      try {
        await log.step()
      } catch (error) {
        console.log(`at step ${step}`)
        await log.abandon()
        throw error
      }
    }
    await log.end()
    const sizes = log.model.map(({ records }) => records.length).join(', ')
    console.log(`${[...log.counts].map(([name, count]) => `${count} ${name}`).join(', ')}; records ${sizes}`)
  })
})

test.run()
