// The upstreams of a node: one sender each, made and stopped together by node.ts, shown and steered over HTTP.

import type { Clock } from '../base/clock.js'
import { messageOf, SluiceError } from '../base/errors.js'
import type { Logger } from '../base/logger.js'
import { MirrorStream } from '../log/mirror-stream.js'
import type { Mirrors } from '../log/mirrors.js'
import type { StreamCatalog, StreamReader } from '../log/types.js'
import type { Offset } from '../record/record.js'
import type { Ledger } from '../state/ledger.js'
import type { UpstreamFacts } from '../state/upstream-facts.js'
import { Budget } from './budget.js'
import type { AllowanceState, DailyAllowanceOptions } from './daily-allowance.js'
import { DeadLetters } from './dead-letters.js'
import { Downlink, type DownlinkOptions } from './downlink.js'
import type { Lane, LedgerPort } from './lane.js'
import { covers } from './listed-mirrors.js'
import { OriginEpoch } from './origin-epoch.js'
import { type CursorsPort, Sender } from './sender.js'
import type { GroupPositions } from './targets/group-teller.js'
import { LedgerReport } from './targets/ledger-report.js'
import { MqttTarget } from './targets/mqtt.js'
import type { MqttConnectionOptions } from './targets/mqtt-address.js'
import { SluiceTarget } from './targets/sluice.js'
import type { StreamOrigin } from './targets/stream-opening.js'
import type { Shipment, Source, Target } from './targets/target.js'
import { gapsWithin } from './told-gaps.js'
import { sysValuesOf, UpstreamEvents } from './upstream-events.js'
import type { RewindRequest, RewoundPartition, UpstreamOptions, UpstreamStatus } from './upstream-options.js'
import { upstreamStatus } from './upstream-status.js'

export interface UpstreamsOptions {
  readonly nodeId: string
  readonly upstreams: readonly UpstreamOptions[]
  readonly catalog: StreamCatalog
  /** What other nodes forward to this one. */
  readonly mirrors: Pick<Mirrors, 'list' | 'onChanged'>
  /** Committed offsets, which travel along to Sluice nodes. */
  readonly groups: GroupPositions
  /** For what proves to each upstream which life of this node it is: see origin-epoch.ts. */
  readonly epochDirectory: string
  readonly cursors: CursorsPort
  readonly ledger: LedgerPort & Pick<Ledger, 'version'>
  /** What outlives a restart of each upstream. */
  readonly facts: Pick<UpstreamFacts, 'get' | 'set'>
  /** Milliseconds the node has been on in all its life. Default: the monotonic clock. */
  readonly poweredOnMs?: () => number
  /** The publish path, for what upstreams send down. Left out: no upstream has a downlink. */
  readonly publish?: DownlinkOptions['publish']
  /** Something that `sysValues` shows has changed and is worth telling at once. */
  readonly onChange?: () => void
  readonly clock: Clock
  readonly logger: Logger
  /** Draws from [0, 1). */
  readonly random: () => number
}

interface Running {
  readonly options: UpstreamOptions
  readonly target: { readonly url: string }
  readonly sender: Sender<Shipment>
  readonly downlink: Downlink | undefined
}

const MAX_LEDGER_REPORT_BYTES = 64 * 1024
const DEFAULT_CONNECT_TIMEOUT_MS = 30_000

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
      running.set(upstream.name, makeSender(upstream, options))
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

function statusOf({ options, target, sender, downlink }: Running): UpstreamStatus {
  return upstreamStatus(options, target.url, sender, downlink)
}

function makeSender(upstream: UpstreamOptions, options: UpstreamsOptions): Running {
  const { catalog, clock, facts } = options
  const { name, deadLetter, streams: listed } = upstream
  const own = listed.filter((stream) => !stream.includes('.')).map((stream) => catalog.stream(stream))
  const streams = [...own, ...mirrorsFor(upstream, options)]
  const logger = options.logger.child(`upstream/${name}`)
  const to = deadLetter === undefined ? undefined : catalog.stream(deadLetter)
  const deadLetters = to && new DeadLetters({ upstream: name, to, clock })
  const paused = facts.get(name).paused ?? false
  const downlink = downlinkOf(upstream, options, logger)
  const budget = new Budget(clock, { ...upstream, daily: dailyOf(upstream, options, logger) })
  const withSender = <S extends Shipment>(target: Target<S>): Running => {
    const sender = new Sender<S>({ ...options, upstream, target, streams, deadLetters, budget, paused, clock, logger })
    return { options: upstream, target, sender: sender as unknown as Sender<Shipment>, downlink }
  }
  return upstream.type === 'sluice'
    ? withSender(sluiceTarget(upstream, options, downlink))
    : withSender(mqttTarget(upstream, options, downlink))
}

function dailyOf(
  { name, bytesPerDay }: UpstreamOptions,
  { facts, clock, poweredOnMs = () => clock.monotonicMs() }: UpstreamsOptions,
  logger: Logger,
): DailyAllowanceOptions | undefined {
  if (bytesPerDay === undefined) return undefined
  const save = (day: AllowanceState): void => {
    facts.set(name, { day }).catch((error) => {
      logger.warn('it cannot be kept what was spent of the daily budget', { reason: messageOf(error) })
    })
  }
  return { bytesPerDay, poweredOnMs, state: facts.get(name).day, save }
}

function downlinkOf(upstream: UpstreamOptions, options: UpstreamsOptions, logger: Logger): Downlink | undefined {
  const { name, downlink: mappings = [] } = upstream
  const { facts, publish, clock } = options
  if (publish === undefined || mappings.length === 0) return undefined
  return new Downlink({
    ...{ upstream: name, mappings, publish, clock, logger },
    subscribed: () => facts.get(name).subscribed ?? [],
    onSubscribed: (subscribed) => {
      facts.set(name, { subscribed }).catch((error) => {
        logger.warn('it cannot be kept what was subscribed to', { reason: messageOf(error) })
      })
    },
  })
}

type SharedOptions = Pick<MqttConnectionOptions, 'connectTimeoutMs' | 'downlink'> & UpstreamOptionsOfNode
type UpstreamOptionsOfNode = Omit<UpstreamOptions, 'downlink'> & { readonly nodeId: string }

function targetOptions(
  upstream: UpstreamOptions,
  { nodeId }: UpstreamsOptions,
  downlink: Downlink | undefined,
): SharedOptions {
  const connectTimeoutMs = upstream.connectTimeoutMs ?? DEFAULT_CONNECT_TIMEOUT_MS
  return { ...upstream, nodeId, connectTimeoutMs, downlink }
}

function mqttTarget(upstream: UpstreamOptions, options: UpstreamsOptions, downlink: Downlink | undefined): MqttTarget {
  const { name, ledgerTopic, limits } = upstream
  const { nodeId: node, ledger, clock } = options
  const maxBytes = Math.min(MAX_LEDGER_REPORT_BYTES, (limits?.maxPacketBytes ?? Number.POSITIVE_INFINITY) - 1024)
  const report = { node, upstream: name, maxBytes, version: () => ledger.version, rows: () => ledger.list(), clock }
  const ledgerReport = ledgerTopic === undefined ? undefined : new LedgerReport({ ...report, mqttTopic: ledgerTopic })
  return new MqttTarget({ ...targetOptions(upstream, options, downlink), ledgerReport }, clock)
}

function sluiceTarget(
  upstream: UpstreamOptions,
  options: UpstreamsOptions,
  downlink: Downlink | undefined,
): SluiceTarget {
  const { nodeId, clock, ledger, groups, epochDirectory } = options
  const originEpoch = new OriginEpoch(epochDirectory, upstream.name)
  const gapsOf = ({ stream, partition }: Source, first: number, last: number) =>
    gapsWithin(ledger.list(), { destination: upstream.name, stream, partition }, { first, last })
  const originOf = (stream: StreamReader): StreamOrigin =>
    stream instanceof MirrorStream
      ? { origin: stream.origin, stream: stream.stream, via: stream.via }
      : { origin: nodeId, stream: stream.name, via: null }
  const shared = targetOptions(upstream, options, downlink)
  return new SluiceTarget({ ...shared, originEpoch, gapsOf, groups, originOf }, clock)
}

/** The mirrors there are now that an upstream lists, by name or with `*.NAME`. */
function mirrorsFor({ streams }: UpstreamOptions, { mirrors }: UpstreamsOptions): MirrorStream[] {
  return mirrors.list().filter((one) => covers(streams, one))
}

function lanesOf<L extends Lane<Shipment>>(lanes: readonly L[], name: string, request: RewindRequest): L[] {
  const { stream, partition } = request
  const chosen = lanes.filter(
    (lane) => lane.stream.name === stream && (partition === undefined || lane.partition === partition),
  )
  if (chosen.length > 0) return chosen
  const what = partition === undefined ? `stream ${stream}` : `partition ${partition} of stream ${stream}`
  const known = [...new Set(lanes.map((lane) => lane.stream.name))]
  throw new SluiceError('UNKNOWN_STREAM_OR_PARTITION', `upstream ${name} does not forward ${what}`, { known })
}

async function destinationOf(lane: Lane<Shipment>, request: RewindRequest): Promise<Offset> {
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
