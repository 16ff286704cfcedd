// The upstreams of a node: one sender each, made and stopped together by node.ts, shown and steered over HTTP.

import { SluiceError } from '../base/errors.js'
import { MirrorStream } from '../log/mirror-stream.js'
import type { Offset } from '../record/record.js'
import type { Lane } from './lane.js'
import { makeUpstream, mirrorsFor, type Running, type UpstreamsOptions } from './make-upstream.js'
import { destinationOf, lanesOf } from './rewind.js'
import type { Shipment } from './targets/target.js'
import { sysValuesOf, UpstreamEvents } from './upstream-events.js'
import type { RewindRequest, RewoundPartition, UpstreamStatus } from './upstream-options.js'
import { upstreamStatus } from './upstream-status.js'

export class Upstreams {
  private readonly events: UpstreamEvents

  private constructor(
    private readonly running: ReadonlyMap<string, Running>,
    private readonly options: UpstreamsOptions,
    private readonly stopWatching: () => void,
  ) {
    const { onChange = () => {}, clock, logger } = options
    this.events = new UpstreamEvents({ status: () => this.status(), onChange, clock, logger })
  }

  /**
   * Starts to connect and to send; failures to do so are retried and shown by `status`.
   * @throws SluiceError INVALID_CONFIG, UNKNOWN_STREAM_OR_PARTITION; nothing has been started then.
   */
  static start(options: UpstreamsOptions): Upstreams {
    const running = new Map<string, Running>()
    for (const upstream of options.upstreams) {
      if (running.has(upstream.name))
        throw new SluiceError('INVALID_CONFIG', `upstream ${upstream.name} is configured twice`)
      running.set(upstream.name, makeUpstream(upstream, options))
    }
    for (const { sender } of running.values()) sender.start()
    const stop = options.mirrors.onChanged(() => {
      for (const { options: upstream, sender } of running.values()) {
        const wanted = mirrorsFor(upstream, options)
        const replaced = sender.lanes.map(({ stream }) => stream).filter((one) => one instanceof MirrorStream)
        for (const mirror of new Set(replaced))
          if (!wanted.includes(mirror)) sender.remove(mirror, `${mirror.origin}.${mirror.stream}`)
        for (const mirror of wanted) sender.add(mirror)
      }
    })
    return new Upstreams(running, options, stop)
  }

  status(): UpstreamStatus[] {
    return [...this.running.values()].map(statusOf)
  }

  /** `$SYS/…` topics and their values. */
  sysValues(): Iterable<readonly [mqttTopic: string, value: string]> {
    return sysValuesOf(this.status())
  }

  /** @throws SluiceError UNKNOWN_UPSTREAM */
  statusOf(name: string): UpstreamStatus {
    return statusOf(this.find(name))
  }

  /**
   * Disconnects once what is in flight is acknowledged, until `resume`; a restart changes nothing about it. Holds at once, durable when it resolves.
   * @throws SluiceError UNKNOWN_UPSTREAM
   */
  async pause(name: string): Promise<void> {
    this.find(name).sender.pause()
    await this.options.facts.set(name, { paused: true })
  }

  /** As `pause`. @throws SluiceError UNKNOWN_UPSTREAM */
  async resume(name: string): Promise<void> {
    this.find(name).sender.resume()
    await this.options.facts.set(name, { paused: false })
  }

  /**
   * Sends records again from an offset or a time on. Only backwards: what would be skipped forwards would be lost in silence.
   * Partitions that have not come so far stay where they are. Durable when it resolves.
   * @returns the partitions that were moved, or would be.
   * @throws SluiceError UNKNOWN_UPSTREAM, UNKNOWN_STREAM_OR_PARTITION, OFFSET_OUT_OF_RANGE, INVALID_REQUEST
   */
  async rewind(name: string, request: RewindRequest): Promise<RewoundPartition[]> {
    const { options, sender } = this.find(name)
    if (options.type === 'sluice')
      throw new SluiceError(
        'INVALID_REQUEST',
        `${name} is a Sluice node: it says itself where to go on, and has what it has`,
      )
    const lanes = lanesOf(sender.leading, name, request)
    const moves: { lane: Lane<Shipment>; to: Offset }[] = []
    for (const lane of lanes) {
      const to = await destinationOf(lane, request)
      if (to < lane.cursor) moves.push({ lane, to })
      else if (request.partition !== undefined && to > lane.cursor)
        throw new SluiceError(
          'INVALID_REQUEST',
          `a rewind goes back: partition ${lane.partition} of ${request.stream} is at ${lane.cursor}, before ${to}`,
          { next_offset: lane.cursor },
        )
    }
    const moved = moves.map(({ lane, to }) => {
      const { stream, partition, cursor: fromOffset } = lane
      return { stream: stream.name, partition, fromOffset, toOffset: to }
    })
    if (!request.dryRun) await sender.rewind(moves)
    return moved
  }

  /** Waits shortly for what is in flight, says goodbye, saves the cursors. */
  async stop(): Promise<void> {
    this.stopWatching()
    this.events.stop()
    await Promise.all([...this.running.values()].map(({ sender }) => sender.stop()))
  }

  private find(name: string): Running {
    const found = this.running.get(name)
    if (found !== undefined) return found
    const names = [...this.running.keys()]
    const known = names.length === 0 ? 'none is configured' : `there is ${names.join(', ')}`
    throw new SluiceError('UNKNOWN_UPSTREAM', `there is no upstream ${JSON.stringify(name)}: ${known}`, {
      known: names,
    })
  }
}

function statusOf({ options, target, sender, downlink, lost }: Running): UpstreamStatus {
  return upstreamStatus(options, target.url, sender, downlink, lost.count(sender.lanes))
}
