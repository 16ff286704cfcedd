// Any MQTT 3.1.1 broker as an upstream: one PUBLISH of QoS 1 per record, its PUBACK is the acknowledgement. MQTT 3.1.1 has no room for the
// record's id; order and the cursor are what we can give. It cannot say "refused" either: a broker that dislikes a message either
// acknowledges it all the same or closes the connection.

import type { Clock } from '../../base/clock.js'
import type { SluiceError } from '../../base/errors.js'
import { type LogRecord, type Offset, retainOf } from '../../record/record.js'
import { decodeRecords } from '../../record/record-batch.js'
import { cameFrom } from '../downlink.js'
import {
  MAX_MQTT_SLOTS,
  MqttAddress,
  type MqttConnection,
  type MqttConnectionOptions,
  slotOfPuback,
} from './mqtt-connection.js'
import { MAX_REMAINING_LENGTH, type Publish } from './publish-writer.js'
import type { Link, LinkEvents, Shipment, Source, Target } from './target.js'
import { compileTopicTemplate, mappedTopicBytes, mappedTopicProblem, type TopicParts } from './topic-template.js'

export interface MqttTargetOptions extends MqttConnectionOptions {
  /** Of the upstream: what came down from it does not go up there again. */
  readonly name: string
  readonly nodeId: string
  /** See topic-template.ts. */
  readonly topic: string
}

const EMPTY = Buffer.alloc(0)

export interface MqttShipment extends Shipment, Publish {}

export class MqttTarget implements Target<MqttShipment> {
  readonly maxSlots = MAX_MQTT_SLOTS
  readonly packBatches = 1
  readonly tellsPositions = false
  readonly refusesBySilence = true
  private readonly address: MqttAddress
  private readonly topics = new Map<string, TopicParts>()

  /** @throws SluiceError INVALID_CONFIG for a URL, a topic or TLS material that cannot be used. */
  constructor(
    private readonly options: MqttTargetOptions,
    private readonly clock: Clock,
  ) {
    this.address = new MqttAddress(options)
    compileTopicTemplate(options.topic, { stream: 'stream', node: options.nodeId })
  }

  get url(): string {
    return this.address.url
  }

  pack(source: Source, batches: readonly Buffer[], from: Offset): MqttShipment[] {
    const parts = this.topicPartsOf(source.stream)
    const { name } = this.options
    return batches.flatMap((batch) =>
      decodeRecords(batch, from).map((record) => {
        const shipment = shipmentOf(record, parts)
        return cameFrom(record, name) ? { ...shipment, known: true as const } : shipment
      }),
    )
  }

  connect(events: LinkEvents): MqttLink {
    return new MqttLink(this.address, events, this.clock)
  }

  private topicPartsOf(stream: string): TopicParts {
    let parts = this.topics.get(stream)
    if (parts === undefined) {
      parts = compileTopicTemplate(this.options.topic, { stream, node: this.options.nodeId })
      this.topics.set(stream, parts)
    }
    return parts
  }
}

function shipmentOf(record: LogRecord, parts: TopicParts): MqttShipment {
  const topic = record.key ?? EMPTY
  const payload = record.value ?? EMPTY
  const topicBytes = mappedTopicBytes(parts, topic.length)
  const bytes = topicBytes + payload.length
  const tooLong = bytes + 4 > MAX_REMAINING_LENGTH ? 'is larger than an MQTT packet can be' : null
  return {
    offset: record.offset,
    nextOffset: (record.offset + 1) as Offset,
    records: 1,
    bytes,
    timestampMs: record.timestampMs,
    rejected: mappedTopicProblem(parts, record.key) ?? tooLong ?? undefined,
    parts,
    topic,
    topicBytes,
    payload,
    retain: retainOf(record.attributes),
  }
}

export class MqttLink implements Link<MqttShipment> {
  private readonly connection: MqttConnection

  constructor(address: MqttAddress, events: LinkEvents, clock: Clock) {
    this.connection = address.connect(
      {
        onConnected: () => events.onUp(),
        onPacket: (packet) => {
          if (packet.cmd === 'puback') events.onAck(slotOfPuback(packet))
        },
        onRoom: () => events.onRoom(),
        onDown: (reason, hungUp) => events.onDown(reason, hungUp),
      },
      clock,
    )
  }

  get hasRoom(): boolean {
    return this.connection.hasRoom
  }

  send(shipment: MqttShipment, slot: number): void {
    this.connection.publish(shipment, slot)
  }

  flush(): void {
    this.connection.flush()
  }

  end(): void {
    this.connection.end()
  }

  reset(reason: SluiceError): void {
    this.connection.reset(reason)
  }
}
