// What must hold between the keys of an [[upstream]], and between these and the rest.

import { filtersOverlap } from '../base/filters-overlap.js'
import { isLoopback } from './address.js'
import { camel } from './fields.js'
import { presetProblems } from './presets.js'
import type { KeyPath } from './problem.js'
import type { RuleReport } from './rules.js'
import { UNROUTED } from './schema/names.js'
import { upstreamFields } from './schema/upstream.js'
import type { WrittenConfig } from './schema.js'
import { mappedFilter } from './topic-template.js'
import { formatSize } from './units.js'

/** What the keys of an envelope say where there is none. */
const IDLE_ENVELOPE: Readonly<Record<string, unknown>> = {
  envelope_gzip: upstreamFields.envelope_gzip.default,
  envelope_max_bytes: 64 * 1024,
  envelope_max_records: upstreamFields.envelope_max_records.default,
  envelope_linger_ms: upstreamFields.envelope_linger_ms.default,
}
const IDLE_ORDER: Readonly<Record<string, unknown>> = {
  live_share: upstreamFields.live_share.default,
  backlog_after_ms: upstreamFields.backlog_after_ms.default,
}
const REFUSES_NOTHING = 'a Sluice node refuses no message'
const WHOLE_BATCHES = 'to a Sluice node go whole batches'
const ONLY_FOR_BROKERS: Readonly<Record<string, string>> = {
  max_attempts: REFUSES_NOTHING,
  dead_letter: REFUSES_NOTHING,
  max_packet_size: REFUSES_NOTHING,
  envelope: WHOLE_BATCHES,
  max_rate: WHOLE_BATCHES,
  retain: WHOLE_BATCHES,
  ledger_topic: 'a Sluice node is told anyway',
  order: 'a Sluice node keeps the order',
}

export function checkUpstreams(config: WrittenConfig, report: RuleReport): void {
  const streams = config.stream.map(({ name }) => name).filter((name) => name !== undefined)
  for (const [i, upstream] of config.upstream.entries()) {
    const path = (key: string): KeyPath => ['upstream', i, key]
    // Without any, [[stream]] itself was reported.
    const unknown = upstream.streams.filter((one) => !streams.includes(one) && one !== UNROUTED && !one.includes('.'))
    for (const name of streams.length === 0 ? [] : unknown)
      report.error(
        path('streams'),
        `names the stream "${name}", which does not exist`,
        `there are ${[...streams, UNROUTED].join(', ')}`,
      )
    const listed = upstream.streams.length === 0 ? streams : upstream.streams
    for (const name of Object.keys(upstream.weights).filter((one) => !listed.includes(one)))
      report.error(
        path('weights'),
        `has "${name}", which this upstream does not forward`,
        `it forwards ${listed.join(', ')}`,
      )
    if (upstream.reconnectMinMs > upstream.reconnectMaxMs)
      report.error(path('reconnect_min_ms'), 'is more than reconnect_max_ms', 'lower it or raise the other')
    const written = (key: string): boolean => report.isWritten(path(key))
    if (upstream.type === 'sluice' && written('topic'))
      report.error(path('topic'), 'has no effect: a Sluice node keeps the topics as they are', 'remove it')
    for (const [key, why] of upstream.type === 'sluice' ? Object.entries(ONLY_FOR_BROKERS) : [])
      if (written(key)) report.error(path(key), `has no effect: ${why}`, 'remove it')
    for (const [key, what, fix] of presetProblems(upstream, written)) report.error(path(key), what, fix)
    checkEnvelope(upstream, (key, what, fix) => report.error(path(key), what, fix), written)
    for (const key of upstream.order === 'live_first' ? [] : ['live_share', 'backlog_after_ms'])
      if (written(key) && (upstream as Record<string, unknown>)[camel(key)] !== IDLE_ORDER[key])
        report.error(path(key), 'has no effect in order', 'add order = "live_first" or remove it')
    if (upstream.deadLetter === UNROUTED)
      report.error(path('dead_letter'), `is "${UNROUTED}", the name of a built-in stream`, 'name another')
    if (written('password') && written('password_file'))
      report.error(path('password'), 'stands beside password_file', 'keep one of the two')
    if ((written('password') || written('password_file')) && upstream.username === undefined)
      report.error(path('username'), 'is missing beside a password', 'add it')
    if (written('cert_file') !== written('key_file'))
      report.error(
        path(written('cert_file') ? 'cert_file' : 'key_file'),
        'needs its partner',
        'set cert_file and key_file, or neither',
      )
    checkUrl(config, i, report)
    checkLoops(config, i, report)
  }
}

function checkEnvelope(
  upstream: WrittenConfig['upstream'][number],
  error: (key: string, what: string, fix: string) => void,
  written: (key: string) => boolean,
): void {
  const { envelope, envelopeMaxBytes, maxPacketSize, topic } = upstream
  if (envelope === 'none') {
    for (const [key, idle] of Object.entries(IDLE_ENVELOPE))
      if (written(key) && (upstream as Record<string, unknown>)[camel(key)] !== idle)
        error(key, 'has no effect without an envelope', 'add envelope = "json" or "cbor"')
    return
  }
  if (topic?.includes('{topic'))
    error(
      'topic',
      'has {topic}, but an envelope holds messages of many topics',
      'leave it out; each message carries its own',
    )
  if (maxPacketSize !== undefined && envelopeMaxBytes > maxPacketSize)
    error(
      'envelope_max_bytes',
      `(${formatSize(envelopeMaxBytes)}) is more than max_packet_size (${formatSize(maxPacketSize)})`,
      'lower it',
    )
}

/** What goes up must not match what is subscribed to: the broker would send it back. */
function checkLoops(config: WrittenConfig, i: number, report: RuleReport): void {
  const { type, topic, downlink, streams } = config.upstream[i]
  if (type !== 'mqtt' || topic === undefined) return
  const own = config.stream.map(({ name }) => name)
  // One that does not exist has been reported as that.
  const listed = (streams.length > 0 ? streams : own).filter(
    (name) => own.includes(name) || name === UNROUTED || name.includes('.'),
  )
  const sent = listed.flatMap((name) => {
    const topics = config.stream.find((stream) => stream.name === name)?.topics ?? ['#']
    return topics.map((filter) => ({ name, filter: mappedFilter(topic, filter) }))
  })
  for (const { from } of downlink) {
    const back = sent.find(({ filter }) => filtersOverlap(filter, from))
    if (back === undefined) continue
    const what = `subscribes to "${from}", where messages of stream "${back.name}" arrive as "${back.filter}": they would come back`
    const fix =
      'put something in front of one of the two, as in topic = "up/{topic}", or leave that stream out of streams'
    report.error(['upstream', i, 'downlink'], what, fix)
  }
}

function checkUrl(config: WrittenConfig, i: number, report: RuleReport): void {
  const { url, clientId } = config.upstream[i]
  if (url === undefined) return
  const { protocol, hostname, port } = new URL(url)
  const host = hostname.replace(/^\[|\]$/g, '')
  if (protocol === 'mqtt:')
    for (const key of ['ca_file', 'cert_file', 'key_file'])
      if (report.isWritten(['upstream', i, key]))
        report.error(
          ['upstream', i, key],
          'has no effect with mqtt://, which is not encrypted',
          'use mqtts:// or remove it',
        )
  if (isLoopback(host) && config.mqtt.listen.some((own) => own.port === Number(port || 1883)))
    report.error(
      ['upstream', i, 'url'],
      `is "${url}", this node itself: every message would go round for ever`,
      'name another broker',
    )
  const twin = config.upstream
    .slice(0, i)
    .find((other) => clientId !== undefined && other.url === url && other.clientId === clientId)
  if (twin !== undefined)
    report.error(
      ['upstream', i, 'client_id'],
      `is the one of upstream "${twin.name}" at the same broker, which would disconnect the two by turns`,
      'choose another',
    )
}
