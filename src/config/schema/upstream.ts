// [[upstream]]: where records are forwarded to, and how.

import { topicNameProblem } from '../../base/topic-filter.js'
import { parseTopicMapping } from '../../base/topic-mapping.js'
import { byteRate, bytes, choice, duration, filePath, flag, integer, list, numbers, parsed, text } from '../fields.js'
import { topicTemplateProblem } from '../topic-template.js'
import { quote, Unfit } from '../unfit.js'
import { NAME, NAME_FIX, name } from './names.js'

const UPSTREAM_PROTOCOLS = ['mqtt:', 'mqtts:']

const URL_FIX = 'write "mqtt://HOST:PORT" or "mqtts://HOST:PORT"'

function readUrl(written: string): string | Unfit {
  const url = URL.canParse(written) ? new URL(written) : null
  if (url === null || url.hostname === '') return new Unfit(`is ${quote(written)}, which is not a URL`, URL_FIX)
  if (url.username !== '' || url.password !== '')
    return new Unfit('holds a password, which would show up in logs', 'use the keys username and password_file')
  if (url.protocol === 'ws:' || url.protocol === 'wss:')
    return new Unfit(`is ${quote(written)}: ${url.protocol}// is not available in this version`, URL_FIX)
  if (!UPSTREAM_PROTOCOLS.includes(url.protocol) || !['', '/'].includes(url.pathname) || url.search !== '')
    return new Unfit(`is ${quote(written)}`, URL_FIX)
  return written.replace(/\/$/, '')
}

export const upstreamFields = {
  name: name('What the ledger, the metrics and `sluice upstreams` call it.'),
  type: choice({
    description: 'What is on the other side.',
    of: ['mqtt', 'sluice'],
    unavailable: ['kafka', 'nats'],
  }),
  preset: choice({
    description: "A cloud's limits, rates and rules of topics, for the keys that are not written. Default: none.",
    of: ['aws-iot', 'azure-iot-hub'],
    optional: true,
  }),
  url: parsed({ description: 'mqtt://HOST:PORT or mqtts://HOST:PORT.' }, readUrl),
  fallback_urls: list({
    description: 'Addresses to try in turn while url cannot be reached; each connection begins with url again.',
    of: parsed({ description: 'As url.' }, readUrl),
    default: [],
    maxItems: 16,
  }),
  streams: list({
    description:
      'The streams that are forwarded; "ORIGIN.STREAM" is the mirror of another node\'s, "*.STREAM" stands for all mirrors. Default: all own ones but "unrouted".',
    of: text({
      description: 'The name of a stream.',
      pattern: /^(([A-Za-z0-9_-]{1,64}|\*)\.)?[A-Za-z0-9_-]{1,64}$/,
      fix: `${NAME_FIX}, after "ORIGIN." or "*." for mirrors`,
    }),
    default: [],
    minItems: 1,
    maxItems: 1000,
  }),
  weights: numbers({
    description:
      'How the link is shared while several of the streams have something to send, as in { alarms = 8 }: bytes relative to the others, which count 1.',
    min: 1,
    max: 1000,
  }),
  order: choice({
    description:
      'What goes first after an outage: the oldest, or what is new, with the backlog behind it. "live_first" gives up the order, to MQTT brokers only.',
    of: ['in_order', 'live_first'],
    default: 'in_order',
  }),
  live_share: integer({
    description: 'What new messages get of the link while there is a backlog, percent; for order = "live_first".',
    default: 80,
    min: 1,
    max: 99,
  }),
  backlog_after_ms: integer({
    description: 'What has waited longer is backlog, milliseconds; for order = "live_first".',
    default: 10_000,
    min: 0,
    max: 86_400_000,
  }),
  topic: parsed(
    {
      description:
        'The topic over there. There are {topic}, {topic:url}, {stream}, {partition}, {offset}, {timestamp}, {node}, {client_id}.',
      default: '{topic}',
    },
    (written) => {
      const problem = topicTemplateProblem(written)
      return problem === null ? written : new Unfit(`is ${quote(written)}, which ${problem}`)
    },
  ),
  downlink: list({
    description:
      'Topic filters that are subscribed to over there; what comes is published here. "plant7/+/cmd -> devices/+/cmd" gives it another topic.',
    of: parsed({ description: 'A topic filter, or "FILTER THERE -> FILTER HERE".' }, (written) => {
      const mapping = parseTopicMapping(written)
      return typeof mapping === 'string' ? new Unfit(`has ${quote(written)}, which ${mapping}`) : mapping
    }),
    default: [],
    maxItems: 100,
  }),
  envelope: choice({
    description:
      'Several messages in one: a JSON array, or CBOR; each with its id. Then topic has no {topic}; default "sluice/{node}/{stream}".',
    of: ['none', 'json', 'cbor'],
    default: 'none',
  }),
  envelope_gzip: flag({ description: 'Compress envelopes.', default: false }),
  envelope_max_bytes: bytes({
    description: 'Most bytes in an envelope, before compression; a larger message has one of its own.',
    default: '64KB',
    min: '1KB',
    max: '16MB',
  }),
  envelope_max_records: integer({
    description: 'Most messages in an envelope.',
    default: 1000,
    min: 1,
    max: 100_000,
  }),
  envelope_linger_ms: integer({
    description: 'How long messages that do not fill an envelope wait for more, milliseconds.',
    default: 1000,
    min: 0,
    max: 3_600_000,
  }),
  retain: flag({ description: 'Publish retained messages as retained over there, too.', default: true }),
  max_packet_size: bytes({
    description: 'A larger message becomes a dead letter without being tried. Default: what MQTT allows.',
    optional: true,
    min: '256B',
    max: '256MB',
  }),
  max_in_flight: integer({
    description:
      'How many messages may be on their way without an ack, or acked and not yet noted on disk: so many can arrive twice. A fast link wants more.',
    default: 100,
    min: 1,
    max: 65_000,
  }),
  bandwidth: byteRate({
    description: 'Most bytes sent a second, on average. Default: no limit.',
    optional: true,
    min: '100B/s',
    max: '10GB/s',
  }),
  max_rate: integer({
    description: 'Most messages in any second. Default: no limit.',
    optional: true,
    min: 1,
    max: 1_000_000,
  }),
  daily_budget: bytes({
    description:
      'Most bytes of topics and payloads in 24 hours of the node being switched on, over restarts. Default: no limit.',
    optional: true,
    min: '1KB',
    max: '1024TB',
  }),
  client_id: text({
    description: 'The MQTT client id. Default: "sluice-NODE-UPSTREAM".',
    optional: true,
    pattern: /^[^\0]{1,256}$/,
    fix: 'use 1 to 256 characters',
  }),
  username: text({ description: 'For the login over there.', optional: true }),
  password: text({ description: 'For the login over there; password_file keeps it out of this file.', optional: true }),
  password_file: filePath({ description: 'A file whose first line is the password.', optional: true }),
  ca_file: filePath({ description: 'Certificates (PEM) to trust. Default: those Node.js brings.', optional: true }),
  cert_file: filePath({ description: 'The certificate (PEM) this node shows.', optional: true }),
  key_file: filePath({ description: 'The private key (PEM) of cert_file.', optional: true }),
  alpn: list({
    description: 'Protocol names to offer in the TLS handshake, for brokers that share a port with others.',
    of: text({
      description: 'A protocol name.',
      pattern: /^[\x21-\x7e]{1,255}$/,
      fix: 'use 1 to 255 visible characters',
    }),
    default: [],
    maxItems: 8,
  }),
  keepalive: duration({
    description: 'How often a sign of life is exchanged when nothing else is.',
    default: '60s',
    min: '1s',
    max: '65535s',
  }),
  ack_timeout_ms: integer({
    description: 'A connection that leaves a message without an ack for so long is made anew, milliseconds.',
    default: 30_000,
    min: 100,
    max: 3_600_000,
  }),
  max_attempts: integer({
    description:
      'How often a message on which the broker closes the connection each time is sent, the last times alone, before it becomes a dead letter.',
    default: 5,
    min: 1,
    max: 1000,
  }),
  dead_letter: text({
    description:
      'The stream for messages the broker never takes; one of 64MB is made where no [[stream]] has that name. Default: "upstream-dead".',
    optional: true,
    pattern: NAME,
    fix: NAME_FIX,
  }),
  ledger_topic: parsed(
    {
      description:
        'Where the broker is told, retained, which messages it will never be sent, as in "up/{node}/ledger". Default: nowhere.',
      optional: true,
    },
    (written) => {
      const filled = written.replaceAll(/\{(node|client_id)\}/g, 'x')
      const problem = /[{}]/.test(filled) ? 'can hold {node} and {client_id} only' : topicNameProblem(filled)
      return problem === null ? written : new Unfit(`is ${quote(written)}, which ${problem}`)
    },
  ),
  reconnect_min_ms: integer({
    description: 'Where the growing, random delay between attempts to connect begins, milliseconds.',
    default: 1000,
    min: 10,
    max: 3_600_000,
  }),
  reconnect_max_ms: integer({
    description: 'Where that delay stops growing, milliseconds.',
    default: 60_000,
    min: 10,
    max: 86_400_000,
  }),
}

/** What is known of a broker beside what the keys say. */
export interface BrokerLimits {
  readonly maxTopicBytes?: number
  /** Parts between slashes, inclusive. */
  readonly maxTopicLevels?: number
  readonly maxClientIdBytes?: number
  /** Bytes that may go at once. */
  readonly bandwidthBurst?: number
  /** False: it does not keep retained messages. */
  readonly retain?: boolean
}
