// A rewind: which lanes it is about, and where each is to go on. Moves nothing itself.

import { SluiceError } from '../base/errors.js'
import type { Offset } from '../record/record.js'
import type { Lane } from './lane.js'
import type { Shipment } from './targets/target.js'
import type { RewindRequest } from './upstream-options.js'

/** @throws SluiceError UNKNOWN_STREAM_OR_PARTITION */
export function lanesOf<L extends Lane<Shipment>>(lanes: readonly L[], name: string, request: RewindRequest): L[] {
  const { stream, partition } = request
  const chosen = lanes.filter(
    (lane) => lane.stream.name === stream && (partition === undefined || lane.partition === partition),
  )
  if (chosen.length > 0) return chosen
  const what = partition === undefined ? `stream ${stream}` : `partition ${partition} of stream ${stream}`
  const known = [...new Set(lanes.map((lane) => lane.stream.name))]
  throw new SluiceError('UNKNOWN_STREAM_OR_PARTITION', `upstream ${name} does not forward ${what}`, { known })
}

/** @throws SluiceError OFFSET_OUT_OF_RANGE, INVALID_REQUEST */
export async function destinationOf(lane: Lane<Shipment>, request: RewindRequest): Promise<Offset> {
  const { offset, timestampMs } = request
  if ((offset === undefined) === (timestampMs === undefined))
    throw new SluiceError('INVALID_REQUEST', 'a rewind needs an offset or a time, and not both')
  if (timestampMs !== undefined) return lane.stream.offsetForTime(lane.partition, timestampMs)
  const logStartOffset = lane.stream.logStartOffset(lane.partition)
  const { highWatermark } = lane
  if (offset! >= logStartOffset && offset! <= highWatermark) return offset as Offset
  throw new SluiceError(
    'OFFSET_OUT_OF_RANGE',
    `partition ${lane.partition} of ${request.stream} holds offsets from ${logStartOffset} up to ${highWatermark}, not ${offset}`,
    { log_start_offset: logStartOffset, high_watermark: highWatermark },
  )
}
