// A partition, or what a member of a group was given, as an endless answer: what is stored, then what comes, a record a line. Asked for more only
// when the client has taken what came before, so a slow client costs one stretch of records and is overtaken by nothing but retention. Loops rather
// than `yield*` of one generator in another, each of which makes every record wait for several more turns of the microtask queue.

import { SluiceError } from '../base/errors.js'
import type { StreamReader } from '../log/types.js'
import type { Offset, PartitionId } from '../record/record.js'
import { errorText } from './error-answers.js'
import type { Groups } from './ports.js'
import type { RecordLines } from './record-lines.js'
import type { HttpRequest } from './route.js'

type Follower = Pick<HttpRequest, 'wait' | 'gone' | 'stopping'>
type Lines = AsyncGenerator<string | Uint8Array, void, undefined>

/** Stored bytes that are read at once. */
const CHUNK_BYTES = 128 * 1024
/** An empty line after so long without a record: it keeps the connection, and shows a client that has gone. */
const SIGN_OF_LIFE_MS = 25_000

/** Ends when the client hangs up or the server stops; after an error, which is the last line: `{"error":{code,message,details}}`. */
export async function* followRecords(
  stream: StreamReader,
  partition: PartitionId,
  from: Offset,
  lines: RecordLines,
  request: Follower,
): Lines {
  let next = from
  const ready = (): boolean => stream.highWatermark(partition) !== next
  try {
    while (!request.gone && !request.stopping) {
      if (!ready()) {
        await request.wait({ ready, subscribe: (wake) => stream.onChange(wake), waitMs: SIGN_OF_LIFE_MS })
        if (!ready()) yield '\n'
        continue
      }
      const { batches, nextOffset } = await stream.fetch(partition, next, { maxBytes: CHUNK_BYTES })
      for (const piece of lines.pieces(stream.name, partition, batches, next)) yield piece
      next = nextOffset
    }
  } catch (error) {
    yield lastWord(error)
  }
}

/** The same for the partitions of a member. It begins with what the group has committed, and its last line says so when they are shared out anew. */
export function followGroup(
  groups: Groups,
  group: string,
  member: string,
  lines: RecordLines,
  request: Follower,
): Lines {
  const fetched = groups.follow(group, member, CHUNK_BYTES, async (work) => {
    await request.wait({ ...work, waitMs: SIGN_OF_LIFE_MS })
    return !request.gone && !request.stopping
  })
  return memberLines(fetched, lines)
}

async function* memberLines(fetched: ReturnType<Groups['follow']>, lines: RecordLines): Lines {
  try {
    for await (const { partitions } of fetched) {
      if (partitions.length === 0) yield '\n'
      for (const { stream, partition, batches, position } of partitions)
        for (const piece of lines.pieces(stream, partition, batches, position)) yield piece
    }
  } catch (error) {
    yield lastWord(error)
  }
}

/** @throws what is a fault of ours. */
function lastWord(error: unknown): string {
  if (!(error instanceof SluiceError)) throw error
  return errorText(error)
}
