// A partition as an endless answer: what is stored, then what comes, a record a line. Asked for more only when the client has taken what came
// before, so a slow client costs one stretch of records and is overtaken by nothing but retention.

import { messageOf, SluiceError } from '../base/errors.js'
import type { StreamReader } from '../log/types.js'
import type { Offset, PartitionId } from '../record/record.js'
import { decodeRecords } from '../record/record-batch.js'
import { recordsAsJson } from './record-json.js'
import type { HttpRequest } from './route.js'

const CHUNK_BYTES = 128 * 1024
/** An empty line after so long without a record: it keeps the connection, and shows a client that has gone. */
const SIGN_OF_LIFE_MS = 25_000

/** Ends when the client hangs up or the server stops; after an error, which is the last line: `{"error":{code,message,details}}`. */
export async function* followRecords(
  stream: StreamReader,
  partition: PartitionId,
  from: Offset,
  request: Pick<HttpRequest, 'wait' | 'gone' | 'stopping'>,
): AsyncGenerator<string, void, undefined> {
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
      for (const batch of batches) {
        const texts = recordsAsJson(stream.name, partition, decodeRecords(batch, next))
        if (texts.length > 0) yield `${texts.join('\n')}\n`
      }
      next = nextOffset
    }
  } catch (error) {
    if (!(error instanceof SluiceError)) throw error
    const { code, details } = error
    yield `${JSON.stringify({ error: { code, message: messageOf(error), details } })}\n`
  }
}
