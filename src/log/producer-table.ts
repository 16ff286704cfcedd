// Which sequence numbers producers have used, per partition, so that a batch that is sent again is appended once (KIP-98, the idempotent
// producer). What it knows of a producer is a fact of the stream, stored in one write with the records: it is there after a crash exactly if
// they are. Bounded: the producer not heard of for longest is forgotten first.

import { Encoder } from 'cbor-x'
import { SluiceError } from '../base/errors.js'
import type { Offset } from '../record/record.js'
import type { Commit } from './types.js'

/** Producers remembered per stream and partition, inclusive. */
export const MAX_PRODUCERS_PER_STREAM = 10_000
/** Batches of one producer that can be recognised when they come again (Kafka's number). */
export const REMEMBERED_BATCHES = 5
const FACT_KIND = 'producer/'

const cbor = new Encoder({ useRecords: false })

/** Who appends, and the sequence number of the first record: +1 for each record of this producer in this partition, from 0. */
export interface ProducerSequence {
  /** 0 to 2^53 - 1. */
  readonly producerId: number
  /** A producer that begins anew raises it and starts at sequence 0; lower ones are fenced. 0 to 32,767. */
  readonly epoch: number
  /** 0 to 2^31 - 1. */
  readonly sequence: number
}

interface AppendedBatch {
  readonly sequence: number
  readonly count: number
  readonly offset: Offset
  /** Absent once durable, or after a restart. */
  readonly commit?: Commit
}

interface Producer {
  readonly epoch: number
  /** Ascending by sequence, the last ones. */
  readonly batches: readonly AppendedBatch[]
}

export class ProducerTable {
  /** `producer/ID/PARTITION` -> producer, least recently used first. */
  private producers = new Map<string, Producer>()

  /** Takes what is durable. Call again after a failed commit. */
  load(facts: ReadonlyMap<string, Uint8Array>): void {
    const loaded: [name: string, producer: Producer, usedAtMs: number][] = []
    for (const [name, bytes] of facts) {
      if (!name.startsWith(FACT_KIND)) continue
      const [epoch, usedAtMs, rows] = cbor.decode(bytes) as [number, number, [number, number, number][]]
      const batches = rows.map(([sequence, count, offset]) => ({ sequence, count, offset: offset as Offset }))
      loaded.push([name, { epoch, batches }, usedAtMs])
    }
    loaded.sort(([, , a], [, , b]) => a - b)
    this.producers = new Map(loaded.map(([name, producer]) => [name, producer]))
  }

  /**
   * @returns the batch as it was appended before, or null if it is new.
   * @throws SluiceError OUT_OF_ORDER_SEQUENCE (details: expected) for a gap, an overlap, or a batch too old to be recognised;
   * FENCED_EPOCH when a newer incarnation of the producer has appended.
   */
  find(partition: number, { producerId, epoch, sequence }: ProducerSequence, count: number): AppendedBatch | null {
    const known = this.producers.get(nameOf(producerId, partition))
    if (known && epoch < known.epoch) {
      throw new SluiceError('FENCED_EPOCH', `producer ${producerId} has epoch ${known.epoch}; ${epoch} is over`, {
        epoch: known.epoch,
      })
    }
    const current = known && epoch === known.epoch ? known : null
    const again = current?.batches.find((batch) => batch.sequence === sequence && batch.count === count)
    if (again) return again
    const last = current?.batches.at(-1)
    const expected = last ? wrapped(last.sequence + last.count) : 0
    // A producer that is not known, because it is new here or was forgotten, may begin anywhere: refusing it would lose its records.
    if (!known || sequence === expected) return null
    const message = `producer ${producerId} sent sequence ${sequence} to partition ${partition}; ${expected} is next`
    throw new SluiceError('OUT_OF_ORDER_SEQUENCE', message, { producerId, partition, sequence, expected })
  }

  /** Takes an append into account. @returns the facts to store with it. */
  appended(
    partition: number,
    { producerId, epoch }: ProducerSequence,
    batch: AppendedBatch,
    usedAtMs: number,
  ): { name: string; value: Uint8Array | null }[] {
    const name = nameOf(producerId, partition)
    const known = this.producers.get(name)
    const earlier = known && known.epoch === epoch ? known.batches : []
    const batches = [...earlier, batch].slice(-REMEMBERED_BATCHES)
    this.producers.delete(name)
    this.producers.set(name, { epoch, batches })
    const rows = batches.map(({ sequence, count, offset }) => [sequence, count, offset])
    const facts: { name: string; value: Uint8Array | null }[] = [{ name, value: cbor.encode([epoch, usedAtMs, rows]) }]
    if (this.producers.size > MAX_PRODUCERS_PER_STREAM) {
      const [oldest] = this.producers.keys()
      this.producers.delete(oldest)
      facts.push({ name: oldest, value: null })
    }
    return facts
  }
}

/** Sequences are int32 in a batch; after 2^31 - 1 comes 0, as in Kafka. */
export function wrapped(sequence: number): number {
  return sequence % 2 ** 31
}

function nameOf(producerId: number, partition: number): string {
  return `${FACT_KIND}${producerId}/${partition}`
}
