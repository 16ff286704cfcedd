// Makes PUBLISH packets of records for an MQTT broker: one a record, or envelopes of many. What the broker could never take is marked as
// rejected, what came from there as known; both break an envelope.

import { compress } from '../../record/compression.js'
import { type LogRecord, type Offset, retainOf } from '../../record/record.js'
import { decodeRecords } from '../../record/record-batch.js'
import { cameFrom } from '../downlink.js'
import {
  type EncodedRecord,
  type EnvelopeFormat,
  encodeEnvelope,
  encodeForEnvelope,
  type RecordSource,
} from './envelope.js'
import { MAX_REMAINING_LENGTH, type Publish } from './publish-writer.js'
import type { Shipment, Source } from './target.js'
import { type TopicLimits, TopicMapper, type TopicParts } from './topic-template.js'

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
}

export interface MqttShipment extends Shipment, Publish {}

/** Header byte, remaining length, topic length, packet identifier [MQTT-3.3]. */
const PACKET_OVERHEAD_BYTES = 9
const EMPTY: Buffer = Buffer.alloc(0)
const OWN_TOPIC: TopicParts = [null]

export class MqttPacker {
  private readonly mappers = new Map<string, TopicMapper>()

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
    if (this.options.envelope !== undefined)
      return this.envelopes(this.options.envelope, mapper, source, recordsOf(batches, from, until), singlyBelow)
    return recordsOf(batches, from, until).map((record) => this.single(mapper, record))
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

  private single(mapper: TopicMapper, record: LogRecord): MqttShipment {
    const { name, limits } = this.options
    const mapped = mapper.map(record)
    const { parts, topic, topicBytes } = typeof mapped === 'string' ? NOWHERE : mapped
    const payload = record.value ?? EMPTY
    const bytes = topicBytes + payload.length
    return {
      offset: record.offset,
      nextOffset: (record.offset + 1) as Offset,
      records: 1,
      bytes,
      timestampMs: record.timestampMs,
      rejected: (typeof mapped === 'string' ? mapped : this.tooLarge(bytes)) ?? undefined,
      known: (record.headers.length > 0 && cameFrom(record, name)) || undefined,
      parts,
      topic,
      topicBytes,
      payload,
      retain: limits?.retain !== false && retainOf(record.attributes),
    }
  }

  private tooLarge(bytes: number): string | null {
    const { maxPacketBytes = MAX_REMAINING_LENGTH } = this.options.limits ?? {}
    if (bytes + PACKET_OVERHEAD_BYTES <= maxPacketBytes) return null
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
      if (record.headers.length > 0 && cameFrom(record, this.options.name)) {
        close()
        shipments.push(Promise.resolve({ ...this.single(mapper, record), rejected: undefined, known: true }))
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
    const payload = zipped ? await compress('gzip', plain) : plain
    const problem = this.tooLarge(topic.length + payload.length)
    return {
      offset: first.offset,
      nextOffset: (records[records.length - 1].record.offset + 1) as Offset,
      records: records.length,
      bytes: topic.length + payload.length,
      timestampMs: first.timestampMs,
      ...{ parts: OWN_TOPIC, topic, topicBytes: topic.length, payload, retain: false },
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

const NOWHERE = { parts: OWN_TOPIC, topic: EMPTY, topicBytes: 0 }
