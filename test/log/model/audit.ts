// Reads everything there is and asserts the promises: what was acknowledged is there, or in the ledger; nothing else is; nothing is said twice.

import * as assert from 'uvu/assert'
import type { LogStream } from '../../../src/log/stream.js'
import type { Offset, PartitionId } from '../../../src/record/record.js'
import { decodeRecords, leaderEpochOf } from '../../../src/record/record-batch.js'
import type { ModelCursors } from './cursors.js'
import type { ModelStream } from './model-stream.js'
import { Ranges } from './ranges.js'
import { compareRecord } from './reader.js'
import type { Scene } from './scene.js'
import { DESTINATIONS } from './settings.js'

export class Audit {
  /** `destination/stream/partition` -> what the ledger has said is not delivered. */
  private named = new Map<string, Ranges>()

  constructor(
    private readonly scene: Scene,
    private readonly cursors: ModelCursors,
  ) {}

  /** @param stateOlder The state database has gone back: what it had said before may be gone. */
  async everything(stateOlder = false): Promise<void> {
    await this.scene.world.settle()
    this.checkLedger(stateOlder)
    for (const [name, model] of this.scene.streams) {
      if (model.isUncertain) continue
      for (let partition = 0; partition < model.partitions.length; partition++)
        await this.auditPartition(this.scene.log(name), model, partition as PartitionId, stateOlder)
    }
    this.scene.throwFailure()
  }

  private async auditPartition(
    log: LogStream,
    model: ModelStream,
    partition: PartitionId,
    stateOlder: boolean,
  ): Promise<void> {
    const one = model.partitions[partition]
    const readable = new Ranges()
    let next = log.logStartOffset(partition)
    let epoch = -1
    while (next < log.highWatermark(partition)) {
      next = Math.max(next, log.logStartOffset(partition)) as Offset
      const limits = { maxBytes: 16_000, fromDisk: true }
      const fetched = await this.scene.world.until(log.fetch(partition, next, limits)).catch((error) => {
        if (next < log.logStartOffset(partition)) return null
        throw error
      })
      for (const batch of fetched?.batches ?? []) {
        assert.ok(leaderEpochOf(batch) >= epoch, 'epochs do not go down')
        epoch = leaderEpochOf(batch)
        for (const record of decodeRecords(batch, next)) {
          compareRecord(one, `${model.name}/${partition}/${record.offset}`, record, batch)
          readable.add(record.offset, record.offset)
        }
      }
      if (fetched) next = fetched.nextOffset
    }
    if (one.hasJumped)
      assert.ok(
        log.epoch(partition) > epoch,
        `${model.name}/${partition}: the partition epoch is raised where an end is unknown`,
      )
    one.hasJumped = false
    const start = log.logStartOffset(partition)
    const end = log.highWatermark(partition)
    const where = `${model.name}/${partition} (${start} to ${end})`
    const lost = this.scene.rowsOf('*', model.name, partition)
    assert.equal(readable.without(lost), readable.all, `${where}: what is there is not in the ledger as lost`)
    assert.ok((lost.all.at(-1)?.last ?? -1) < end, `${where}: the ledger names what is yet to come`)
    const missing = Ranges.of(Ranges.of([{ first: start, last: end - 1 }]).without(readable))
    assert.equal(missing.without(lost), [], `${where}: missing in silence`)
    const dropped = Ranges.of(Ranges.of([{ first: one.start, last: start - 1 }]).without(lost))
    for (const destination of DESTINATIONS) {
      const unnamed = dropped.without(this.knownOf(destination, model.name, partition))
      const isNamed = stateOlder || unnamed.every(({ first, last }) => one.mayVanish(first) && one.mayVanish(last))
      assert.ok(
        isNamed,
        `${where}: ${JSON.stringify(unnamed)} were dropped in silence, and ${destination} had them not`,
      )
    }
    for (const offset of one.records.keys()) {
      if (offset >= start && missing.has(offset))
        assert.ok(one.mayBeLost(offset), `${where}: ${offset} is lost, and no fault was near it`)
      if (offset < start || missing.has(offset)) one.records.delete(offset)
    }
    one.start = start
    one.exposed = null
  }

  /** What a destination has, or the ledger says it will not have. */
  private knownOf(destination: string, stream: string, partition: number): Ranges {
    const known = this.scene.rowsOf(destination, stream, partition)
    for (const { first, last } of this.cursors.had(destination, stream, partition).all) known.add(first, last)
    return known
  }

  /** What was in it stays; rows of one line lie apart. */
  private checkLedger(stateOlder: boolean): void {
    const lines = new Map<string, Ranges>()
    for (const row of this.scene.running.ledger.list()) {
      const line = `${row.destination}/${row.stream}/${row.partition}`
      assert.ok(row.stream !== 'keep' || row.destination === '*', `${line} was given up, and no policy lets it go`)
      const ranges = lines.get(line) ?? new Ranges()
      for (const { first, last } of ranges.all)
        assert.ok(
          last < row.firstOffset || row.lastOffset < first,
          `rows of ${line} overlap: ${this.scene.ledgerText()}`,
        )
      assert.is(row.records, row.lastOffset - row.firstOffset + 1, `the records of ${line}: ${this.scene.ledgerText()}`)
      ranges.add(row.firstOffset, row.lastOffset)
      lines.set(line, ranges)
    }
    if (!stateOlder)
      for (const [line, ranges] of this.named)
        assert.equal(ranges.without(lines.get(line) ?? new Ranges()), [], `the ledger has forgotten of ${line}`)
    this.named = lines
  }
}
