// Any MQTT 3.1.1 broker as an upstream: PUBLISH packets of QoS 1, of one record each or envelopes of many (mqtt-packer.ts); a PUBACK is the
// acknowledgement. MQTT 3.1.1 has no room for the record's id beside the payload: an envelope carries it, and a topic can ({offset}). It
// cannot say "refused" either: a broker that dislikes a message either acknowledges it all the same or closes the connection.

import type { Clock } from '../../base/clock.js'
import type { SluiceError } from '../../base/errors.js'
import type { Offset } from '../../record/record.js'
import type { LedgerReport } from './ledger-report.js'
import { MqttAddress, type MqttConnectionOptions } from './mqtt-address.js'
import type { MqttConnection } from './mqtt-connection.js'
import { MqttPacker, type MqttPackerOptions, type MqttShipment } from './mqtt-packer.js'
import { MAX_MQTT_SLOTS, MAX_PACKETS_PER_SLOT } from './packet-sender.js'
import type { Gathering, Link, LinkEvents, Source, Target } from './target.js'

export interface MqttTargetOptions extends MqttConnectionOptions, Omit<MqttPackerOptions, 'maxPacketsPerShipment'> {
  /** Of messages. */
  readonly maxInFlight: number
  /** Messages are counted one by one, or wait for bandwidth: each goes alone. Default: false. */
  readonly oneByOne?: boolean
  /** Left out: the broker is not told what it will never be sent. */
  readonly ledgerReport?: LedgerReport | undefined
}

const STEPS_OF_WINDOW = 64

export class MqttTarget implements Target<MqttShipment> {
  readonly maxSlots = MAX_MQTT_SLOTS
  readonly messagesAtOnce: number
  readonly packBatches: number
  readonly tellsPositions = false
  readonly refusesBySilence = true
  readonly gathering: Gathering | undefined
  private readonly address: MqttAddress
  private readonly packer: MqttPacker

  /** @throws SluiceError INVALID_CONFIG for a URL, a topic or TLS material that cannot be used. */
  constructor(
    private readonly options: MqttTargetOptions,
    private readonly clock: Clock,
  ) {
    this.address = new MqttAddress(options)
    const { envelope, oneByOne = false, maxInFlight } = options
    this.messagesAtOnce = envelope !== undefined || oneByOne ? 1 : messagesAtOnce(maxInFlight)
    this.packer = new MqttPacker({ ...options, maxPacketsPerShipment: this.messagesAtOnce })
    this.packBatches = envelope === undefined ? 1 : Number.POSITIVE_INFINITY
    this.gathering = envelope && { records: envelope.maxRecords, lingerMs: envelope.lingerMs }
  }

  get url(): string {
    return this.address.url
  }

  pack(
    source: Source,
    batches: readonly Buffer[],
    from: Offset,
    singlyBelow = 0 as Offset,
    until = Number.MAX_SAFE_INTEGER as Offset,
  ): MqttShipment[] | Promise<MqttShipment[]> {
    return this.packer.pack(source, batches, from, singlyBelow, until)
  }

  connect(events: LinkEvents): MqttLink {
    return new MqttLink(this.address, events, this.clock, this.messagesAtOnce, this.options.ledgerReport)
  }
}

export class MqttLink implements Link<MqttShipment> {
  private readonly connection: MqttConnection

  constructor(
    address: MqttAddress,
    events: LinkEvents,
    clock: Clock,
    packetsPerSlot: number,
    ledgerReport?: LedgerReport,
  ) {
    let stopReport = (): void => {}
    this.connection = address.connect(
      {
        onConnected: () => {
          events.onUp()
          if (ledgerReport !== undefined)
            stopReport = ledgerReport.start((topic, payload) => this.connection.publishRetained(topic, payload))
        },
        onAck: (slot) => events.onAck(slot),
        onProgress: () => events.onProgress?.(),
        onPacket: () => {},
        onRoom: () => events.onRoom(),
        onDown: (reason, hungUp) => {
          stopReport()
          events.onDown(reason, hungUp)
        },
      },
      clock,
      packetsPerSlot,
    )
  }

  get hasRoom(): boolean {
    return this.connection.hasRoom
  }

  send(shipment: MqttShipment, slot: number): void {
    this.connection.publish(shipment.packets, slot)
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

/** As few that the window stays many steps, and that each slot of the window has packet identifiers enough. */
function messagesAtOnce(maxInFlight: number): number {
  const steps = Math.floor(maxInFlight / STEPS_OF_WINDOW)
  return Math.max(1, Math.min(steps, Math.floor(MAX_MQTT_SLOTS / maxInFlight), MAX_PACKETS_PER_SLOT))
}
