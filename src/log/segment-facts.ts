// The facts of a stream as they lie in a segment, each with a check of its own. What there was in all is kept with the segment's summary, so that
// one that cannot be found any more, or has turned back into an older one, is missed (D5).

import type { Logger } from '../base/logger.js'
import { CHECK_BYTES, withCheck, withoutCheck } from '../state/checked-value.js'
import { type LevelDatabase, storageError } from '../state/level-database.js'
import { FACT_END, FACT_START, factKey, nameOfFactKey } from './keys.js'
import type { Segment } from './segment.js'
import type { SegmentList } from './segment-list.js'
import type { SegmentSource } from './segment-source.js'

/** Of all facts in a segment, whatever their order. */
export interface FactsDigest {
  readonly count: number
  /** XOR of their checks. */
  readonly sum: number
}

export const NO_FACTS: FactsDigest = { count: 0, sum: 0 }

export interface FoundFacts {
  readonly facts: Map<string, Buffer>
  /** What those that changed were stored under, as far as it can be read. */
  readonly damaged: readonly string[]
  readonly digest: FactsDigest
}

export interface SegmentFacts extends FoundFacts {
  /** None has gone, or turned back into an older one. */
  readonly complete: boolean
}

/** Facts that say where something is, and do not grow old. */
const LASTING = /^(partition|passed)\//
const MAX_NAMES_TOLD = 20
const WHAT_IS_LOST = 'what their producers send again may be stored twice; no record is lost'

export function factOperation(name: string, value: Uint8Array): { type: 'put'; key: Buffer; value: Buffer } {
  const key = factKey(name)
  return { type: 'put', key, value: withCheck(value, key) }
}

export async function readFacts(source: SegmentSource): Promise<FoundFacts> {
  const facts = new Map<string, Buffer>()
  const damaged: string[] = []
  let sum = 0
  for await (const entries of source.entries(FACT_START, FACT_END)) {
    for (const [key, stored] of entries) {
      const value = withoutCheck(stored, key)
      if (value === null) damaged.push(nameOfFactKey(key))
      // A copy: what is read pins the block it lies in.
      else facts.set(nameOfFactKey(key), Buffer.from(value))
      if (stored.length >= CHECK_BYTES) sum ^= stored.readUInt32BE(stored.length - CHECK_BYTES)
    }
  }
  return { facts, damaged, digest: { count: facts.size + damaged.length, sum: sum >>> 0 } }
}

export function isSameDigest(a: FactsDigest, b: FactsDigest): boolean {
  return a.count === b.count && a.sum === b.sum
}

/**
 * What a start takes over from the newest segment.
 * @param isNewestMissing There was a newer one, which is gone, and what these facts have become with it.
 */
export async function soundFacts(
  segments: SegmentList,
  isNewestMissing: boolean,
  logger: Logger,
): Promise<Map<string, Uint8Array>> {
  const { newest } = segments
  if (newest === undefined) return new Map()
  const { facts, damaged, complete: isComplete } = await factsOf(newest)
  const complete = isComplete && !isNewestMissing
  if (complete && damaged.length === 0) return facts
  // One of the others may say what no longer holds: a message would be taken for one that came before, and be lost.
  const names = complete ? damaged : [...damaged, ...[...facts.keys()].filter((name) => !LASTING.test(name))]
  for (const name of names) facts.delete(name)
  const before = segments.all.at(-2)
  for (const [name, value] of before ? (await factsOf(before)).facts : []) {
    if (LASTING.test(name) && !facts.has(name)) facts.set(name, value)
  }
  if (names.length > 0 || !isComplete)
    logger.error('facts that were stored with the records are damaged and are forgotten', {
      ...told(names),
      meaning: WHAT_IS_LOST,
    })
  return facts
}

/** Of a segment whose table cannot be read at all: none. */
async function factsOf(segment: Segment): Promise<SegmentFacts> {
  try {
    return await segment.facts()
  } catch (error) {
    if (storageError(error, 'facts cannot be read').code !== 'CORRUPT_MESSAGE') throw error
    return { facts: new Map(), damaged: [], digest: NO_FACTS, complete: false }
  }
}

/** After damage to the log of a segment, some of what it says may hold no longer; see soundFacts. */
export async function forgetDoubtful(database: LevelDatabase, { facts }: FoundFacts, logger: Logger): Promise<void> {
  const doubtful = [...facts.keys()].filter((name) => !LASTING.test(name))
  if (doubtful.length === 0) return
  await database.batch(
    doubtful.map((name) => ({ type: 'del' as const, key: factKey(name) })),
    { sync: true },
  )
  logger.error('facts that were stored with the records may be out of date and are forgotten', {
    ...told(doubtful),
    meaning: WHAT_IS_LOST,
  })
}

function told(names: readonly string[]): { facts: number; names: string } {
  return { facts: names.length, names: names.slice(0, MAX_NAMES_TOLD).join(', ') }
}
