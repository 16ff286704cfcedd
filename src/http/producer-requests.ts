// Requests that their producer numbers, so that one that is sent again is stored once, also after a restart (KIP-98, the idempotent producer;
// here one numbering runs over all partitions of a stream, because a program over HTTP does not know where a topic goes). What is known of a
// producer is one fact per stream, stored in one write with the records: both are on disk, or neither.
//
// Bounded: per stream the producer not heard of for longest is forgotten first. Used by routes/produce.ts alone.

import { SluiceError } from '../base/errors.js'
import type { Commit, Stream } from '../log/types.js'

/** Producers remembered per stream, inclusive. */
export const MAX_PRODUCERS_PER_STREAM = 10_000
/** Requests of one producer that can be recognised when they come again (Kafka's number). */
export const REMEMBERED_REQUESTS = 5
const FACT_KIND = 'request/'

export interface RequestNumber {
  /** 1 to 128 letters, digits, `.`, `_` or `-`. */
  readonly producerId: string
  /** A producer that begins anew raises it and starts at sequence 0; lower ones are fenced. */
  readonly epoch: number
  /** Of the first record; +1 for each record of this producer in this stream. */
  readonly sequence: number
}

/** Where a record lies. `offset` is null for one of an earlier request if the stream got partitions since. */
export interface Place {
  readonly partition: number
  readonly offset: number | null
}

export interface AppendedRequest {
  readonly places: readonly Place[]
  /** What must be durable before the answer. */
  readonly commits: ReadonlySet<Commit>
  /** It was appended before: nothing was added. */
  readonly duplicate: boolean
  /** No later request of this producer was appended. */
  readonly isLast: boolean
}

type Run = readonly [partition: number, firstOffset: number, count: number]

interface KnownRequest {
  readonly sequence: number
  readonly count: number
  /** One for each partition that has records of it. */
  readonly runs: readonly Run[]
  /** Empty once it was read from disk. */
  readonly commits: ReadonlySet<Commit>
}

interface KnownProducer {
  readonly epoch: number
  readonly usedAtMs: number
  /** Ascending by sequence, the last ones. */
  readonly requests: readonly KnownRequest[]
}

const NO_COMMITS: ReadonlySet<Commit> = new Set()

export class ProducerRequests {
  /** Least recently used first. */
  private readonly perStream = new Map<Stream, Map<string, KnownProducer>>()

  constructor(private readonly wallMs: () => number) {}

  /**
   * @param partitions Of each record, as it is routed now.
   * @param publish Appends all records, in one go.
   * @throws SluiceError OUT_OF_ORDER_SEQUENCE (details: expected) for a gap, an overlap, or a request too old to be recognised; FENCED_EPOCH when
   * a newer incarnation of the producer has appended; whatever `publish` throws: then nothing has happened.
   */
  append(
    stream: Stream,
    number: RequestNumber,
    partitions: readonly number[],
    publish: () => readonly { readonly partition: number; readonly offset: number; readonly commit: Commit }[],
  ): AppendedRequest {
    const { producerId, epoch, sequence } = number
    const known = this.knownOf(stream, producerId)
    const again = find(stream.name, number, partitions.length, known)
    if (again !== null) {
      const isLast = again === known?.requests.at(-1)
      return { places: placesOf(again.runs, partitions), commits: again.commits, duplicate: true, isLast }
    }
    const name = `${FACT_KIND}${producerId}`
    // What the stream would refuse is refused here, before anything is appended.
    stream.setFact(name, known === undefined ? encode({ epoch, usedAtMs: 0, requests: [] }) : encode(known))
    const records = publish()
    const commits = new Set(records.map(({ commit }) => commit))
    const request = { sequence, count: records.length, runs: runsOf(records), commits }
    const earlier = known?.epoch === epoch ? known.requests : []
    const requests = [...earlier, request].slice(-REMEMBERED_REQUESTS)
    const producer = { epoch, usedAtMs: this.wallMs(), requests }
    stream.setFact(name, encode(producer))
    this.remember(stream, producerId, producer)
    return { places: records, commits, duplicate: false, isLast: true }
  }

  private remember(stream: Stream, producerId: string, producer: KnownProducer): void {
    const producers = this.producersOf(stream)
    producers.delete(producerId)
    producers.set(producerId, producer)
    if (producers.size <= MAX_PRODUCERS_PER_STREAM) return
    const [oldest] = producers.keys()
    producers.delete(oldest)
    stream.setFact(`${FACT_KIND}${oldest}`, null)
  }

  /** What memory holds, unless its write has failed: then only the disk knows. */
  private knownOf(stream: Stream, producerId: string): KnownProducer | undefined {
    const known = this.producersOf(stream).get(producerId)
    const hasFailed = known?.requests.some(({ commits }) => [...commits].some(({ state }) => state === 'failed'))
    if (!hasFailed) return known
    const name = `${FACT_KIND}${producerId}`
    const stored = stream.facts(name).get(name)
    return stored === undefined ? undefined : decode(stored)
  }

  private producersOf(stream: Stream): Map<string, KnownProducer> {
    const there = this.perStream.get(stream)
    if (there !== undefined) return there
    const stored = [...stream.facts(FACT_KIND)].map(
      ([name, value]) => [name.slice(FACT_KIND.length), decode(value)] as const,
    )
    const producers = new Map(stored.sort(([, a], [, b]) => a.usedAtMs - b.usedAtMs))
    this.perStream.set(stream, producers)
    return producers
  }
}

/** @returns the request as it was appended before, or null if it is new. */
function find(
  stream: string,
  { producerId, epoch, sequence }: RequestNumber,
  count: number,
  known: KnownProducer | undefined,
): KnownRequest | null {
  // A producer that is not known, because it is new here or was forgotten, may begin anywhere: refusing it would lose its records.
  if (known === undefined || known.requests.length === 0) return null
  if (epoch < known.epoch)
    throw new SluiceError(
      'FENCED_EPOCH',
      `producer ${producerId} has begun anew with producer_epoch ${known.epoch}: what is sent with ${epoch} is no longer taken`,
      { producer_id: producerId, producer_epoch: known.epoch },
    )
  const requests = epoch === known.epoch ? known.requests : []
  const again = requests.find((request) => request.sequence === sequence && request.count === count)
  if (again !== undefined) return again
  const last = requests.at(-1)
  const expected = last === undefined ? 0 : last.sequence + last.count
  if (sequence === expected) return null
  const why = sequence > expected ? 'what comes before is missing' : 'it was stored before, or in part'
  throw new SluiceError(
    'OUT_OF_ORDER_SEQUENCE',
    `producer ${producerId} sent sequence ${sequence} to stream ${stream}, ${expected} is next: ${why}`,
    { producer_id: producerId, stream, sequence, expected },
  )
}

function runsOf(records: readonly { readonly partition: number; readonly offset: number }[]): Run[] {
  const runs = new Map<number, [number, number, number]>()
  for (const { partition, offset } of records) {
    const run = runs.get(partition)
    if (run === undefined) runs.set(partition, [partition, offset, 1])
    else run[2] += 1
  }
  return [...runs.values()]
}

/** A run holds records with consecutive offsets, in the order of the request. */
function placesOf(runs: readonly Run[], partitions: readonly number[]): Place[] {
  const next = new Map(runs.map(([partition, offset]) => [partition, offset]))
  const places = partitions.map((partition) => {
    const offset = next.get(partition)
    if (offset === undefined) return { partition, offset: null }
    next.set(partition, offset + 1)
    return { partition, offset }
  })
  const isSame = runs.every(([partition, offset, count]) => next.get(partition) === offset + count)
  return isSame ? places : places.map(({ partition }) => ({ partition, offset: null }))
}

/** JSON: `[epoch, usedAtMs, [[sequence, count, [[partition, firstOffset, count], …]], …]]`. */
function encode({ epoch, usedAtMs, requests }: KnownProducer): Uint8Array {
  const rows = requests.map(({ sequence, count, runs }) => [sequence, count, runs])
  return Buffer.from(JSON.stringify([epoch, usedAtMs, rows]))
}

function decode(value: Uint8Array): KnownProducer {
  const [epoch, usedAtMs, rows] = JSON.parse(Buffer.from(value).toString()) as [
    number,
    number,
    [number, number, Run[]][],
  ]
  const requests = rows.map(([sequence, count, runs]) => ({ sequence, count, runs, commits: NO_COMMITS }))
  return { epoch, usedAtMs, requests }
}
