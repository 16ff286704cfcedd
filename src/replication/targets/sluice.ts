// Another Sluice node as an upstream: frames of record batches as they are stored (frame-packer.ts), over links that speak node-protocol.ts
// (node-link.ts). The upstream says where each partition goes on; what is on disk here is a hint.

import type { Clock } from '../../base/clock.js'
import type { Offset } from '../../record/record.js'
import { FramePacker, type FrameShipment } from '../frame-packer.js'
import type { Welcome } from '../node-protocol.js'
import { MqttAddress, type MqttConnectionOptions } from './mqtt-address.js'
import { MAX_FRAMES_IN_FLIGHT, NodeLink, type NodeLinkOptions } from './node-link.js'
import type { LinkEvents, Source, Target } from './target.js'

export interface SluiceTargetOptions
  extends MqttConnectionOptions,
    Pick<NodeLinkOptions, 'nodeId' | 'originEpoch' | 'gapsOf' | 'groups' | 'originOf'> {}

/** Of a packet, what is not batches. */
const ENVELOPE_BYTES = 16 * 1024

export class SluiceTarget implements Target<FrameShipment> {
  readonly maxSlots = MAX_FRAMES_IN_FLIGHT
  readonly messagesAtOnce = 1
  readonly packBatches = Number.POSITIVE_INFINITY
  readonly tellsPositions = true
  readonly refusesBySilence = false
  private readonly address: MqttAddress
  private readonly packer = new FramePacker()
  private readonly diverged = new Set<string>()
  private link: NodeLink | null = null
  private limits = { maxBatchBytes: Number.POSITIVE_INFINITY, readsZstd: false }

  /** @throws SluiceError INVALID_CONFIG for a URL or TLS material that cannot be used. */
  constructor(
    private readonly options: SluiceTargetOptions,
    private readonly clock: Clock,
  ) {
    this.address = new MqttAddress(options)
  }

  get url(): string {
    return this.address.url
  }

  pack(source: Source, batches: readonly Buffer[], from: Offset): Promise<FrameShipment[]> {
    const inHaste = (this.link?.inFlight ?? 0) < MAX_FRAMES_IN_FLIGHT / 2
    return this.packer.pack(source, batches, from, { ...this.limits, inHaste })
  }

  connect(events: LinkEvents): NodeLink {
    const { address, options, diverged, clock } = this
    const onWelcome = ({ maxFrameBytes, readsZstd }: Welcome): void => {
      this.limits = { maxBatchBytes: maxFrameBytes - ENVELOPE_BYTES, readsZstd }
    }
    this.link = new NodeLink({ ...options, address, diverged, onWelcome, events, clock })
    return this.link
  }
}
