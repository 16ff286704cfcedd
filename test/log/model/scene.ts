// The log that is tried and its model, as all parts of a run see them.

import * as assert from 'uvu/assert'
import type { SluiceError } from '../../../src/base/errors.js'
import type { LogStream } from '../../../src/log/stream.js'
import type { PartitionId } from '../../../src/record/record.js'
import type { LedgerRow } from '../../../src/state/ledger.js'
import type { TestLog } from '../../helpers/open-log.js'
import type { SeededRandom } from '../../helpers/seeded-random.js'
import { ModelStream } from './model-stream.js'
import { Ranges } from './ranges.js'
import { STREAMS } from './settings.js'
import { NodeEnded, World } from './world.js'

export class Scene {
  readonly world: World
  readonly streams = new Map<string, ModelStream>()
  /** Null between an end and a start. */
  node: TestLog | null = null
  /** Counts starts. */
  life = 0
  /** Counts what is written, which makes each value another. */
  written = 0
  /** Space was short, and who was refused for that may not have gone on yet. */
  wasFull = false
  private failure: unknown = null

  constructor(readonly random: SeededRandom) {
    for (const { name, partitions } of STREAMS) this.streams.set(name, new ModelStream(name, partitions))
    this.world = new World(random)
  }

  get running(): TestLog {
    assert.ok(this.node)
    return this.node as TestLog
  }

  log(name: string): LogStream {
    return this.running.log.stream(name) as LogStream
  }

  anyPartition(): { model: ModelStream; log: LogStream; partition: PartitionId } {
    const { name, partitions } = STREAMS[this.random.below(STREAMS.length)]
    const partition = Math.min(this.random.below(partitions), this.random.below(partitions)) as PartitionId
    return { model: this.streams.get(name) as ModelStream, log: this.log(name), partition }
  }

  /** Devices' clocks are in no order, but for a trend. */
  randomTime(): number {
    return 1e12 + this.written * 10 + this.random.below(2000)
  }

  /** Follows work that goes on beside the steps. */
  spawn(work: Promise<void>): void {
    const { life } = this
    work.catch((error) => {
      if (life === this.life && !(error instanceof NodeEnded)) this.failure ??= error
    })
  }

  throwFailure(): void {
    if (this.failure !== null) throw this.failure
  }

  mayRefuse(error: SluiceError): boolean {
    return (
      (error.code === 'STORAGE_FULL' && this.wasFull) ||
      (error.code === 'STORAGE_FAILED' && this.world.disk.failed !== null)
    )
  }

  rowsOf(destination: string, stream: string, partition: number): Ranges {
    const isHere = (row: LedgerRow): boolean =>
      row.destination === destination && row.stream === stream && row.partition === partition
    const rows = this.running.ledger.list().filter(isHere)
    return Ranges.of(rows.map(({ firstOffset, lastOffset }) => ({ first: firstOffset, last: lastOffset })))
  }

  ledgerText(): string {
    return this.running.ledger
      .list()
      .map(
        (row) =>
          `${row.destination}/${row.stream}/${row.partition} ${row.firstOffset}-${row.lastOffset} ${row.reason} ${row.records}`,
      )
      .join('; ')
  }
}
