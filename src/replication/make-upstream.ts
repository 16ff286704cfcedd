// One upstream as its configuration wants it: the sender, its target, budget and downlink, put together. Used by upstreams.ts.

import type { Clock } from '../base/clock.js'
import { messageOf } from '../base/errors.js'
import type { Logger } from '../base/logger.js'
import { MirrorStream } from '../log/mirror-stream.js'
import type { Mirrors } from '../log/mirrors.js'
import type { StreamCatalog, StreamReader } from '../log/types.js'
import type { Ledger } from '../state/ledger.js'
import type { UpstreamFacts } from '../state/upstream-facts.js'
import { Budget } from './budget.js'
import type { AllowanceState, DailyAllowanceOptions } from './daily-allowance.js'
import { DeadLetters } from './dead-letters.js'
import { Downlink, type DownlinkOptions } from './downlink.js'
import { covers } from './listed-mirrors.js'
import { LostRecords } from './lost-records.js'
import { OriginEpoch } from './origin-epoch.js'
import type { LedgerPort } from './passed-over.js'
import { type CursorsPort, Sender } from './sender.js'
import type { GroupPositions } from './targets/group-teller.js'
import { LedgerReport } from './targets/ledger-report.js'
import { MqttTarget } from './targets/mqtt.js'
import type { MqttConnectionOptions } from './targets/mqtt-address.js'
import { SluiceTarget } from './targets/sluice.js'
import type { StreamOrigin } from './targets/stream-opening.js'
import type { Shipment, Source, Target } from './targets/target.js'
import { gapsWithin } from './told-gaps.js'
import type { UpstreamOptions } from './upstream-options.js'

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

/** An upstream at work. */
export interface Running {
  readonly options: UpstreamOptions
  readonly target: { readonly url: string }
  readonly sender: Sender<Shipment>
  readonly downlink: Downlink | undefined
  readonly lost: LostRecords
}

const MAX_LEDGER_REPORT_BYTES = 64 * 1024
const DEFAULT_CONNECT_TIMEOUT_MS = 30_000

export function makeUpstream(upstream: UpstreamOptions, options: UpstreamsOptions): Running {
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
  const lost = new LostRecords(name, options.ledger)
  const withSender = <S extends Shipment>(target: Target<S>): Running => {
    const sender = new Sender<S>({ ...options, upstream, target, streams, deadLetters, budget, paused, clock, logger })
    return { options: upstream, target, sender: sender as unknown as Sender<Shipment>, downlink, lost }
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
  const { bandwidthBytesPerSecond, messagesPerSecond, bytesPerDay } = upstream
  const oneByOne = [bandwidthBytesPerSecond, messagesPerSecond, bytesPerDay].some((budget) => budget !== undefined)
  return new MqttTarget({ ...targetOptions(upstream, options, downlink), ledgerReport, oneByOne }, clock)
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
export function mirrorsFor({ streams }: UpstreamOptions, { mirrors }: UpstreamsOptions): MirrorStream[] {
  return mirrors.list().filter((one) => covers(streams, one))
}
