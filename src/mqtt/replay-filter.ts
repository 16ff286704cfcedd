// `$stream/<name>/<earliest|latest|OFFSET|@TIME>[/<partition>]`: how a client that has nothing but MQTT asks for what a stream holds. It is no
// filter: nothing is published there, and what it brings comes under the records' own topics.

import { parseStartPosition, type StartPosition } from '../base/start-position.js'
import type { ReplayPosition } from './replay.js'
import type { StoredPartition } from './stored-partition.js'

const PREFIX = '$stream/'
const GRAMMAR = /^\$stream\/([^/]+)\/([^/]+)(?:\/(0|[1-9]\d{0,9}))?$/

export function isReplayFilter(filter: string): boolean {
  return filter.startsWith(PREFIX)
}

/**
 * Where to begin, in each partition asked for; an offset that is gone or not yet there becomes the nearest that is.
 * @param partition By name, `stream/N`.
 * @returns null where the filter, or what it names, is not known.
 */
export async function replayPositions(
  filter: string,
  partition: (name: string) => StoredPartition | undefined,
): Promise<ReplayPosition[] | null> {
  const [, stream, place, only] = GRAMMAR.exec(filter) ?? []
  const start = place === undefined ? null : parseStartPosition(place)
  const first = partition(`${stream}/${only ?? 0}`)
  if (start === null || first === undefined) return null
  const wanted = [first]
  for (let p = 1; only === undefined && p < first.stream.partitions; p++) {
    const another = partition(`${stream}/${p}`)
    if (another !== undefined) wanted.push(another)
  }
  return Promise.all(wanted.map(async (each) => ({ partition: each, next: await offsetOf(each, start) })))
}

async function offsetOf({ stream, partition, highWatermark }: StoredPartition, start: StartPosition): Promise<number> {
  const logStart = stream.logStartOffset(partition)
  if (start.at === 'earliest') return logStart
  if (start.at === 'latest') return highWatermark
  if (start.at === 'offset') return Math.max(logStart, Math.min(start.offset, highWatermark))
  return stream.offsetForTime(partition, start.timestampMs)
}
