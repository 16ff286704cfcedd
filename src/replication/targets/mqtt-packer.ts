// Makes PUBLISH packets of records for an MQTT broker: one a record, some of them to a shipment, or envelopes of many records. What the broker could
// never take is marked as rejected, what came from there as known; neither shares a shipment or an envelope with others.

import { compressBeside } from '../../record/compression.js'
import { type LogRecord, type Offset, retainOf } from '../../record/record.js'
import { decodeRecords, RecordCursor } from '../../record/record-batch.js'
import { cameFrom } from '../downlink.js'
import {
  type EncodedRecord,
  type EnvelopeFormat,
  encodeEnvelope,
  encodeForEnvelope,
  type RecordSource,
} from './envelope.js'
import {
  encodePublish,
  MAX_OVERHEAD_BYTES,
  MAX_REMAINING_LENGTH,
  type Packets,
  PublishEncoder,
} from './publish-encoder.js'
import type { Shipment, Source } from './target.js'
import { type TopicLimits, TopicMapper } from './topic-template.js'

export interface EnvelopeOptions {
  readonly format: EnvelopeFormat
  readonly gzip: boolean
  /** Of the records in one envelope, before compression; a larger record has one of its own. */
  readonly maxBytes: number
  readonly maxRecords: number
  /** How long records that do not fill an envelope wait for more. */
  readonly lingerMs: number
}

/** What the broker takes, where it is less than MQTT allows. */
export interface BrokerLimits extends TopicLimits {
  /** Of a whole PUBLISH packet, inclusive. */
  readonly maxPacketBytes?: number
  /** False: published without it. Default true. */
  readonly retain?: boolean
}

export interface MqttPackerOptions {
  /** Of the upstream: what came down from it does not go up there again. */
  readonly name: string
  readonly nodeId: string
  readonly clientId: string
  /** See topic-template.ts. */
  readonly topic: string
  readonly limits?: BrokerLimits
  /** Left out: a PUBLISH per record. */
  readonly envelope?: EnvelopeOptions
  /** Of records that have a PUBLISH each: so many are sent and acknowledged as one shipment, at most. Default 1. */
  readonly maxPacketsPerShipment?: number
}

export interface MqttShipment extends Shipment {
  readonly packets: Packets
}

/** A shipment of several packets has at most so many bytes of topics and payloads: streams take turns by shipments. */
const MAX_SHARED_BYTES = 4 * 1024
const NOTHING: Packets = { bytes: Buffer.alloc(0), idsAt: [], tail: null }

export class MqttPacker {
  private readonly mappers = new Map<string, TopicMapper>()
  private readonly encoder = new PublishEncoder()

  /** @throws SluiceError INVALID_CONFIG for a topic that cannot be one. */
  constructor(private readonly options: MqttPackerOptions) {
    this.mapperOf({ stream: 'stream', partition: 0 as Source['partition'] })
  }

  pack(
    source: Source,
    batches: readonly Buffer[],
    from: Offset,
    singlyBelow: Offset,
    until = Number.MAX_SAFE_INTEGER as Offset,
  ): MqttShipment[] | Promise<MqttShipment[]> {
    const mapper = this.mapperOf(source)
    const { envelope } = this.options
    if (envelope !== undefined)
      return this.envelopes(envelope, mapper, source, recordsOf(batches, from, until), singlyBelow)
    try {
      return batches.flatMap((batch) => this.publishes(mapper, new RecordCursor(batch, from), singlyBelow, until))
    } finally {
      // Of a batch that does not parse.
      this.encoder.take()
      mapper.release()
    }
  }

  private mapperOf({ stream, partition }: Source): TopicMapper {
    const key = `${stream}/${partition}`
    let mapper = this.mappers.get(key)
    if (mapper === undefined) {
      const { topic, nodeId: node, clientId, limits } = this.options
      mapper = new TopicMapper(topic, { stream, node, partition, clientId }, limits)
      this.mappers.set(key, mapper)
    }
    return mapper
  }

  private publishes(mapper: TopicMapper, record: RecordCursor, singlyBelow: Offset, until: Offset): MqttShipment[] {
    const { encoder } = this
    const { name, limits, maxPacketsPerShipment = 1 } = this.options
    const shipments: MqttShipment[] = []
    let first = { offset: 0 as Offset, timestampMs: 0 }
    let bytes = 0
    const close = (): void => {
      if (encoder.count > 0) shipments.push(shipmentOf(first, encoder.count, bytes, encoder.take()))
      bytes = 0
    }
    while (record.next() && record.offset < until) {
      const { offset, timestampMs, valueStart } = record
      const valueEnd = valueStart === -1 ? -1 : record.valueEnd
      const mapped = mapper.map(record)
      const size = (mapped === null ? mapper.length : 0) + valueEnd - valueStart
      const rejected = mapped ?? this.tooLarge(size)
      const known = record.headers.length > 0 && cameFrom(record.headers, name)
      if (known || rejected !== null) {
        close()
        const passedOver = known ? { known } : { rejected: rejected as string }
        shipments.push({ ...shipmentOf({ offset, timestampMs }, 1, size, NOTHING), ...passedOver })
        continue
      }
      const shared = encoder.count > 0 && bytes + size <= MAX_SHARED_BYTES && encoder.count < maxPacketsPerShipment
      if (!shared || offset !== first.offset + encoder.count || offset <= singlyBelow || !encoder.fits(size)) close()
      if (encoder.count === 0) first = { offset, timestampMs }
      encoder.add(mapper, record.bytes, valueStart, valueEnd, limits?.retain !== false && retainOf(record.attributes))
      bytes += size
    }
    close()
    return shipments
  }

  private tooLarge(bytes: number): string | null {
    const { maxPacketBytes = MAX_REMAINING_LENGTH } = this.options.limits ?? {}
    if (bytes + MAX_OVERHEAD_BYTES <= maxPacketBytes) return null
    return `is larger than a packet over there can be (${maxPacketBytes} bytes)`
  }

  private async envelopes(
    envelope: EnvelopeOptions,
    mapper: TopicMapper,
    source: Source,
    records: readonly LogRecord[],
    singlyBelow: Offset,
  ): Promise<MqttShipment[]> {
    const recordSource = this.recordSourceOf(source)
    const shipments: Promise<MqttShipment>[] = []
    let open: EncodedRecord[] = []
    let bytes = 0
    const close = (): void => {
      if (open.length > 0) shipments.push(this.envelope(envelope, mapper, recordSource, open))
      open = []
      bytes = 0
    }
    for (const record of records) {
      if (record.headers.length > 0 && cameFrom(record.headers, this.options.name)) {
        close()
        shipments.push(Promise.resolve({ ...shipmentOf(record, 1, 0, NOTHING), known: true }))
        continue
      }
      const encoded = encodeForEnvelope(envelope.format, recordSource, record)
      const gap = open.length > 0 && record.offset !== open[open.length - 1].record.offset + 1
      const full = open.length >= envelope.maxRecords || bytes + encoded.bytes > envelope.maxBytes
      if (gap || full || record.offset <= singlyBelow) close()
      open.push(encoded)
      bytes += encoded.bytes
    }
    close()
    return Promise.all(shipments)
  }

  private async envelope(
    { format, gzip: zipped }: EnvelopeOptions,
    mapper: TopicMapper,
    source: RecordSource,
    records: readonly EncodedRecord[],
  ): Promise<MqttShipment> {
    const [{ record: first }] = records
    const topic = mapper.mapFirst(first)
    const plain = encodeEnvelope(format, source, records)
    const payload = zipped ? await compressBeside('gzip', plain) : plain
    const problem = this.tooLarge(topic.length + payload.length)
    return {
      ...shipmentOf(first, records.length, topic.length + payload.length, encodePublish(topic, payload)),
      messages: 1,
      ...(problem !== null && { rejected: problem }),
    }
  }

  /** A mirror `ORIGIN.STREAM` has the offsets and partitions it had at its origin. */
  private recordSourceOf({ stream, partition }: Source): RecordSource {
    const [origin, name] = stream.split('.')
    return name === undefined
      ? { node: this.options.nodeId, stream, partition }
      : { node: origin, stream: name, partition }
  }
}

function recordsOf(batches: readonly Buffer[], from: Offset, until: Offset): LogRecord[] {
  const records = batches.flatMap((batch) => decodeRecords(batch, from))
  return (records.at(-1)?.offset ?? 0) < until ? records : records.filter(({ offset }) => offset < until)
}

/** Of consecutive records, each with a message of its own. */
function shipmentOf(
  { offset, timestampMs }: Pick<LogRecord, 'offset' | 'timestampMs'>,
  records: number,
  bytes: number,
  packets: Packets,
): MqttShipment {
  return { offset, nextOffset: (offset + records) as Offset, records, messages: records, bytes, timestampMs, packets }
}
