// Kafka RecordBatch v2 codec. (skeleton)
import type { LogRecord, Offset, RecordInput } from './record.js'
/** Decodes the records at or after `from` of one stored batch. @throws SluiceError CORRUPT_MESSAGE */
export declare function decodeRecords(batch: Buffer, from?: Offset): LogRecord[]
export declare function encodeRecordBatch(baseOffset: Offset, records: readonly RecordInput[]): Buffer
