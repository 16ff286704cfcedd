// The streams of the model, small enough that everything happens to them soon.

export const SEGMENT_BYTES = 6 * 1024
export const MAX_BYTES = 8 * SEGMENT_BYTES
const MAX_AGE_MS = 60_000
/** More than a segment can hold of records. */
const CEILING_STEP = 150
export const DESTINATIONS = ['cloud', 'backup']
/** Of MQTT. */
export const TOPICS = ['a', 'b/c', 'd/e/f']
export const STREAMS = [
  { name: 'drop', partitions: 3, retention: { maxBytes: MAX_BYTES, maxAgeMs: null, onFull: 'drop_oldest' as const } },
  { name: 'keep', partitions: 2, retention: { maxBytes: MAX_BYTES, maxAgeMs: null, onFull: 'reject' as const } },
  {
    name: 'aged',
    partitions: 1,
    retention: { maxBytes: 4 * MAX_BYTES, maxAgeMs: MAX_AGE_MS, onFull: 'drop_oldest' as const },
  },
]
export const OPTIONS = {
  segmentBytes: SEGMENT_BYTES,
  memoryBudgetBytes: SEGMENT_BYTES * 2 * STREAMS.length,
  maxBatchBytes: 1024,
  maxPendingBytes: SEGMENT_BYTES,
  tailCacheBytes: 3 * 4096,
  maxRecordBytes: 4096,
  diskBudgetBytes: 5 * MAX_BYTES,
  ballastBytes: 32 * 1024,
  ceilingStep: CEILING_STEP,
  destinations: DESTINATIONS,
}
