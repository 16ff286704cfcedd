// What writes to the log, and is told to the model: records, records of numbered producers, facts.

import * as assert from 'uvu/assert'
import { SluiceError } from '../../../src/base/errors.js'
import type { ProducerSequence } from '../../../src/log/producer-table.js'
import type { LogStream } from '../../../src/log/stream.js'
import type { PartitionId } from '../../../src/record/record.js'
import { recordOf } from '../../helpers/open-log.js'
import type { ModelProducer, ModelRecord, ModelStream } from './model-stream.js'
import type { Scene } from './scene.js'
import { TOPICS } from './settings.js'

const RECORD_BYTES = 2000
const PRODUCERS = 3
const FACTS = 5

export class Writer {
  constructor(private readonly scene: Scene) {}

  append(): void {
    const { model, log, partition } = this.scene.anyPartition()
    if (!this.isWritable(model, log) || !log.hasRoom) return
    this.tryWriting(model, () => {
      const { offset, record, input } = this.newRecord(model, log, partition)
      model.appended(log.append(partition, input), partition, offset, record)
    })
  }

  produce(): void {
    const { model, log, partition } = this.scene.anyPartition()
    if (!this.isWritable(model, log) || !log.hasRoom) return
    const id = this.scene.random.below(PRODUCERS)
    const name = `producer/${id}/${partition}`
    const known = model.newest.producers.get(name)
    const again = known && this.scene.random.chance(0.4)
    const beginsAnew = known && !again && this.scene.random.chance(0.1)
    const epoch = (known?.epoch ?? 0) + (beginsAnew ? 1 : 0)
    if (again) {
      this.produceAgain(model, log, partition, id, known)
      return
    }
    const last = known?.batches.at(-1)
    const sequence = last && !beginsAnew ? last.sequence + last.count : 0
    this.refuseWrongSequence(log, { producerId: id, epoch, sequence }, partition, known !== undefined)
    this.tryWriting(model, () => {
      const count = 1 + this.scene.random.below(3)
      const made = Array.from({ length: count }, (_, i) => this.newRecord(model, log, partition, i))
      const { duplicate, firstOffset, commit } = log.appendFrom(
        { producerId: id, epoch, sequence },
        partition,
        made.map(({ input }) => input),
      )
      assert.not.ok(duplicate, `${model.name}/${partition}, producer ${id}, sequence ${sequence} is new`)
      for (const { offset, record } of made) model.appended(commit, partition, offset, record)
      model.produced(commit, name, epoch, { sequence, count, offset: firstOffset })
    })
  }

  /** What a producer sends again is answered as the first time. */
  private produceAgain(
    model: ModelStream,
    log: LogStream,
    partition: PartitionId,
    id: number,
    known: ModelProducer,
  ): void {
    const { sequence, count, offset } = known.batches[this.scene.random.below(known.batches.length)]
    this.tryWriting(model, () => {
      const { duplicate, firstOffset } = log.appendFrom(
        { producerId: id, epoch: known.epoch, sequence },
        partition,
        this.inputs(count),
      )
      const where = `${model.name}/${partition}, producer ${id}, sequence ${sequence}`
      assert.equal([duplicate, firstOffset], [true, offset], `${where} was appended before`)
    })
  }

  setFact(): void {
    const { model, log } = this.scene.anyPartition()
    if (!this.isWritable(model, log)) return
    const name = `fact/${this.scene.random.below(FACTS)}`
    const value = this.scene.random.chance(0.3) ? null : `${++this.scene.written}`
    this.tryWriting(model, () =>
      model.factSet(log.setFact(name, value === null ? null : Buffer.from(value)), name, value),
    )
  }

  private refuseWrongSequence(
    log: LogStream,
    producer: ProducerSequence,
    partition: PartitionId,
    isKnown: boolean,
  ): void {
    if (!isKnown || this.scene.random.chance(0.8)) return
    const wrong = { ...producer, sequence: producer.sequence + 1 + this.scene.random.below(3) }
    try {
      log.appendFrom(wrong, partition, this.inputs(1))
      assert.unreachable('a sequence was left out')
    } catch (error) {
      if (!(error instanceof SluiceError)) throw error
      assert.is(error.code, 'OUT_OF_ORDER_SEQUENCE')
    }
  }

  private tryWriting(model: ModelStream, write: () => void): void {
    try {
      write()
    } catch (error) {
      if (!(error instanceof SluiceError)) throw error
      const isFullByPolicy = model.name === 'keep' && error.code === 'STORAGE_FULL'
      assert.ok(isFullByPolicy || this.scene.mayRefuse(error), `${model.name}: ${error.message}`)
    }
  }

  /** Looks at what is left of a failed commit first. */
  private isWritable(model: ModelStream, log: LogStream): boolean {
    if (!model.isUncertain) return true
    if (log.refused !== null || log.stats().pendingBytes > 0) return false
    model.settle(log, null)
    return true
  }

  private newRecord(model: ModelStream, log: LogStream, partition: PartitionId, ahead = 0) {
    const offset = log.nextOffset(partition) + ahead
    assert.is(offset, model.nextOffset(partition) + ahead, `${model.name}/${partition}: the next offset`)
    const size = this.scene.random.chance(0.1) ? this.scene.random.below(RECORD_BYTES) : this.scene.random.below(300)
    const record: ModelRecord = {
      value: `${model.name}/${partition}/${offset}:${++this.scene.written}:${'x'.repeat(size)}`,
      timestampMs: this.scene.randomTime(),
      mqttTopic: TOPICS[this.scene.random.below(TOPICS.length)],
      epoch: model.partitions[partition].epoch,
    }
    return {
      offset,
      record,
      input: recordOf(record.value, { timestampMs: record.timestampMs, key: Buffer.from(record.mqttTopic) }),
    }
  }

  private inputs(count: number) {
    return Array.from({ length: count }, () => recordOf('again'))
  }
}
