// What reads the log while it works: every answer is held against the model at once.

import * as assert from 'uvu/assert'
import { SluiceError } from '../../../src/base/errors.js'
import type { LogStream } from '../../../src/log/stream.js'
import type { FetchLimits } from '../../../src/log/types.js'
import type { Offset, PartitionId } from '../../../src/record/record.js'
import { decodeRecords, leaderEpochOf } from '../../../src/record/record-batch.js'
import type { ModelPartition, ModelStream } from './model-stream.js'
import { Ranges } from './ranges.js'
import type { Scene } from './scene.js'
import { TOPICS } from './settings.js'

export class Reader {
  constructor(private readonly scene: Scene) {}

  fetch(): void {
    const { model, log, partition } = this.scene.anyPartition()
    const start = log.logStartOffset(partition)
    const highWatermark = log.highWatermark(partition)
    const near = this.scene.random.chance(0.4) ? Math.max(start, highWatermark - 20) : start - 2
    const from = Math.max(0, near + this.scene.random.below(highWatermark - near + 3))
    const wanted = this.scene.random.chance(0.2) ? TOPICS[this.scene.random.below(TOPICS.length)] : null
    const limits: FetchLimits = {
      maxBytes: 1 + this.scene.random.below(8000),
      ...(this.scene.random.chance(0.5) ? { maxRecords: 1 + this.scene.random.below(50) } : {}),
      ...(wanted ? { wantsTopic: (mqttTopic: string) => mqttTopic === wanted } : {}),
      fromDisk: this.scene.random.chance(0.5),
    }
    this.scene.spawn(this.checkedFetch(model, log, partition, from, highWatermark, limits, wanted))
  }

  findTime(): void {
    const { model, log, partition } = this.scene.anyPartition()
    const timestampMs = this.scene.randomTime()
    const before = { start: log.logStartOffset(partition), end: log.highWatermark(partition) }
    const check = async (): Promise<void> => {
      const found = Number(await log.offsetForTime(partition, timestampMs))
      const end = log.highWatermark(partition)
      const isLate = (offset: number): boolean =>
        (model.partitions[partition].records.get(offset)?.timestampMs ?? -1) >= timestampMs
      const where = `${model.name}/${partition}, found ${found} for ${timestampMs}`
      assert.ok(isLate(found) || (before.end <= found && found <= end), where)
      const lost = this.scene.rowsOf('*', model.name, partition)
      for (const offset of model.partitions[partition].records.keys()) {
        const isBefore = log.logStartOffset(partition) <= offset && offset < Math.min(found, before.end)
        assert.not.ok(isBefore && isLate(offset) && !lost.has(offset), `${where}; ${offset} comes before it`)
      }
    }
    this.scene.spawn(check())
  }

  private async checkedFetch(
    model: ModelStream,
    log: LogStream,
    partition: PartitionId,
    from: number,
    highWatermark: number,
    limits: FetchLimits,
    wanted: string | null,
  ): Promise<void> {
    const where = `${model.name}/${partition} from ${from}`
    const one = model.partitions[partition]
    const start = log.logStartOffset(partition)
    try {
      const { batches, nextOffset } = await log.fetch(partition, from as Offset, limits)
      assert.ok(from >= start && from <= highWatermark, `${where} is out of range`)
      model.seen(partition, nextOffset)
      const lost = this.scene.rowsOf('*', model.name, partition)
      let next = from
      for (const batch of batches) {
        for (const record of decodeRecords(batch, from as Offset)) {
          compareRecord(one, `${where}: ${record.offset}`, record, batch)
          assert.ok(record.offset >= next, `${where}: in order`)
          lost.add(record.offset, record.offset)
          next = record.offset + 1
        }
      }
      const passedOver = Ranges.of([{ first: from, last: nextOffset - 1 }]).without(lost)
      for (const { first, last } of passedOver)
        for (let offset = first; offset <= last; offset++) {
          const isUnwanted = wanted !== null && one.records.get(offset)?.mqttTopic !== wanted
          assert.ok(isUnwanted, `${where}: ${first} to ${last} are passed over`)
        }
      const bytes = batches.reduce((sum, batch) => sum + batch.length, 0)
      assert.ok(bytes <= limits.maxBytes || batches.length === 1, `${where}: ${bytes} bytes for ${limits.maxBytes}`)
      assert.ok(nextOffset > from || from >= highWatermark, `${where}: nothing is found`)
    } catch (error) {
      if (!(error instanceof SluiceError)) throw error
      if (this.scene.mayRefuse(error)) return
      assert.is(error.code, 'OFFSET_OUT_OF_RANGE', `${where}: ${error.message}`)
      assert.ok(from < log.logStartOffset(partition) || from > highWatermark, `${where}: ${error.message}`)
    }
  }
}

/** @param batch The one it was found in. */
export function compareRecord(
  one: ModelPartition,
  where: string,
  record: {
    readonly offset: number
    readonly value: Buffer | null
    readonly timestampMs: number
    readonly key: Buffer | null
  },
  batch: Buffer,
): void {
  const found = {
    value: record.value?.toString(),
    timestampMs: record.timestampMs,
    mqttTopic: record.key?.toString(),
    epoch: leaderEpochOf(batch),
  }
  assert.equal(found, one.records.get(record.offset), where)
}
