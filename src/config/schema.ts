// Every key of the configuration: what it means, what may stand there, what applies without it. The types, the checks, the names of the
// environment variables and the JSON Schema all come from here. Values come out under the key's name in camel case, sizes in
// bytes, durations in milliseconds, rates in bytes per second, paths absolute.

import { topicFilterProblem } from '../base/topic-filter.js'
import { parseListenAddress } from './address.js'
import {
  byteRate,
  bytes,
  choice,
  duration,
  entries,
  filePath,
  flag,
  folderPath,
  integer,
  list,
  parsed,
  quote,
  table,
  text,
  Unfit,
  type ValuesOf,
} from './fields.js'
import { topicTemplateProblem } from './topic-template.js'

/** Names of streams, upstreams and nodes: no dot, which joins them in the names of mirrors. */
export const NAME = /^[A-Za-z0-9_-]{1,64}$/
const NAME_FIX = 'use 1 to 64 letters, digits, - and _'
/** The built-in stream for QoS 1 and 2 messages that no other stream takes. */
export const UNROUTED = 'unrouted'

const name = (description: string) =>
  text({
    description,
    pattern: NAME,
    fix: NAME_FIX,
    check: (written) =>
      written === UNROUTED ? new Unfit(`is "${UNROUTED}", the name of a built-in stream`, 'choose another name') : null,
  })

const topicFilter = parsed({ description: 'An MQTT topic filter.' }, (written) => {
  const problem = topicFilterProblem(written)
  if (problem !== null) return new Unfit(`has the topic filter ${quote(written)}, which ${problem}`)
  return written.startsWith('$share/')
    ? new Unfit(`has ${quote(written)}: shared subscriptions do not route`, 'write the filter after $share/GROUP/')
    : written
})

const STREAM_KEY = /^(topic|client|level:[1-9]\d?)$/
export type StreamKey = 'topic' | 'client' | `level:${number}`

const retentionFields = {
  max_bytes: bytes({
    description: 'Most bytes kept on disk; the oldest go first.',
    default: '1GB',
    min: '1MB',
    max: '1024TB',
  }),
  max_age: duration({
    description: 'Records older than this are removed, by the time the node was switched on. Default: no limit.',
    optional: true,
    min: '1s',
    max: '36500d',
  }),
  on_full: choice({
    description:
      'When records that an upstream still needs fill the stream: drop the oldest and name them in the ledger, or accept no more.',
    of: ['drop_oldest', 'reject'],
    default: 'drop_oldest',
  }),
}

const streamFields = {
  name: name('What programs and upstreams call the stream.'),
  topics: list({
    description: 'MQTT topic filters; the first stream whose filter matches takes a message.',
    of: topicFilter,
    minItems: 1,
    maxItems: 1000,
  }),
  partitions: integer({
    description: 'Into how many ordered sequences the stream is divided. It can only grow.',
    default: 1,
    min: 1,
    max: 256,
  }),
  key: parsed(
    {
      description:
        'What decides the partition: the MQTT topic, the client id, or the Nth level of the topic, counted from 1.',
      default: 'topic',
      json: { type: 'string', pattern: STREAM_KEY.source },
    },
    (written) =>
      STREAM_KEY.test(written)
        ? (written as StreamKey)
        : new Unfit(`is ${quote(written)}`, 'write "topic", "client" or "level:N", N from 1 to 99'),
  ),
  retention: table('What is kept, and what happens when there is no room.', retentionFields),
  compression: choice({
    description: 'How record batches are stored and forwarded, where it saves at least 15 %; zstd needs Node.js 22.15.',
    of: ['none', 'gzip', 'zstd'],
    default: 'none',
  }),
  linger_ms: integer({
    description: 'How long a commit waits for more records, milliseconds: later acks, fewer writes to the disk.',
    default: 0,
    min: 0,
    max: 60_000,
  }),
}

const UPSTREAM_PROTOCOLS = ['mqtt:', 'mqtts:']

const upstreamFields = {
  name: name('What the ledger, the metrics and `sluice upstreams` call it.'),
  type: choice({
    description: 'What is on the other side.',
    of: ['mqtt', 'sluice'],
    unavailable: ['kafka', 'nats'],
  }),
  url: parsed({ description: 'mqtt://HOST:PORT or mqtts://HOST:PORT.' }, (written) => {
    const fix = 'write "mqtt://HOST:PORT" or "mqtts://HOST:PORT"'
    const url = URL.canParse(written) ? new URL(written) : null
    if (url === null || url.hostname === '') return new Unfit(`is ${quote(written)}, which is not a URL`, fix)
    if (url.username !== '' || url.password !== '')
      return new Unfit('holds a password, which would show up in logs', 'use the keys username and password_file')
    if (url.protocol === 'ws:' || url.protocol === 'wss:')
      return new Unfit(`is ${quote(written)}: ${url.protocol}// is not available in this version`, fix)
    if (!UPSTREAM_PROTOCOLS.includes(url.protocol) || !['', '/'].includes(url.pathname) || url.search !== '')
      return new Unfit(`is ${quote(written)}`, fix)
    return written.replace(/\/$/, '')
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
  topic: parsed(
    { description: 'The topic over there; {topic}, {stream} and {node} stand for what they say.', default: '{topic}' },
    (written) => {
      const problem = topicTemplateProblem(written)
      return problem === null ? written : new Unfit(`is ${quote(written)}, which ${problem}`)
    },
  ),
  max_in_flight: integer({
    description: 'How many messages may be on their way without an ack.',
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

const queueFields = {
  name: text({ description: 'What its workers call the queue.', pattern: NAME, fix: NAME_FIX }),
  stream: text({ description: 'The stream whose messages they work on.', pattern: NAME, fix: NAME_FIX }),
  max_attempts: integer({
    description: 'How often a message is handed out before it becomes a dead letter.',
    default: 5,
    min: 1,
    max: 1000,
  }),
  dead_letter: text({
    description:
      'The stream for dead letters; one of 64MB is made where no [[stream]] has that name. Default: "STREAM-dead".',
    optional: true,
    pattern: NAME,
    fix: NAME_FIX,
  }),
  visibility_timeout: duration({
    description: 'How long a message is with a worker before another gets it, unless the worker says otherwise.',
    default: '30s',
    min: '100ms',
    max: '12h',
  }),
}

const mqttAddress = parsed(
  { description: '"HOST:PORT", or with mqtts://, ws:// or wss:// in front; HOST may be * for every address.' },
  (written) =>
    parseListenAddress<'mqtt' | 'mqtts' | 'ws' | 'wss'>(written, {
      usual: 'mqtt',
      others: ['mqtts', 'ws', 'wss'],
      unavailable: [],
    }),
)
const httpAddress = parsed(
  { description: '"HOST:PORT", or "https://HOST:PORT"; HOST may be * for every address.' },
  (written) => parseListenAddress<'http' | 'https'>(written, { usual: 'http', others: ['https'], unavailable: [] }),
)

const firmwareFields = {
  name: name('What the log calls the line.'),
  port: text({
    description: 'The serial port, as in /dev/ttyUSB0. It may be plugged in later.',
    pattern: /^\//,
    fix: 'write a path that begins with /',
  }),
  baud_rate: integer({ description: 'Bits per second.', default: 115_200, min: 300, max: 4_000_000 }),
  topic_prefix: text({
    description: 'Goes in front of every topic; {device} stands for the device id.',
    default: 'devices/{device}/',
    pattern: /^[^+#$\0][^+#\0]*$/,
    fix: 'write a beginning of MQTT topics, without wildcards, that does not begin with $',
  }),
  devices: list({
    description: 'The device ids that may say hello; none stands for any.',
    of: text({ description: 'A device id.' }),
    default: [],
    minItems: 0,
    maxItems: 10_000,
  }),
  max_in_flight: integer({
    description: 'How many messages a device may have on their way without an ack.',
    default: 8,
    min: 1,
    max: 1000,
  }),
  max_frame_size: bytes({ description: 'A longer frame is dropped.', default: '1KB', min: '64B', max: '64KB' }),
}

export const CONFIG_FIELDS = {
  data_dir: folderPath({ description: 'Where everything is stored; one node at a time.', default: './data' }),
  node_id: text({
    description: 'Names this node to others. Default: made once, kept in the data directory.',
    optional: true,
    pattern: NAME,
    fix: NAME_FIX,
  }),
  log_level: choice({
    description: 'Least severe events that are written to stderr.',
    of: ['debug', 'info', 'warn', 'error'],
    default: 'info',
  }),
  mqtt: table('Where devices connect.', {
    listen: list({
      description: 'Addresses; beyond loopback only with a password_file, or TLS and client certificates.',
      of: mqttAddress,
      default: ['127.0.0.1:1883'],
      minItems: 1,
      maxItems: 16,
    }),
    password_file: filePath({ description: "Who may connect, in mosquitto's format (sluice passwd).", optional: true }),
    acl_file: filePath({
      description: "Who may publish and subscribe to what, in mosquitto's format.",
      optional: true,
    }),
    cert_file: filePath({
      description: 'The certificate (PEM) for mqtts:// and wss://, with those it rests on; read again on SIGHUP.',
      optional: true,
    }),
    key_file: filePath({ description: 'The private key (PEM) of cert_file.', optional: true }),
    ca_file: filePath({
      description: 'Whose client certificates are good (PEM). With it clients are asked for one.',
      optional: true,
    }),
    require_client_cert: flag({
      description:
        'mqtts:// and wss:// refuse clients without a certificate. Without password_file its name is the user name.',
      default: false,
    }),
    allowed_origins: list({
      description: 'Web pages of other hosts that may connect over ws:// and wss://: "https://panel.example", or "*".',
      of: text({
        description: 'The origin of a web page.',
        pattern: /^(\*|https?:\/\/[^/\s]+)$/,
        fix: 'write "https://HOST" or "*"',
      }),
      default: [],
      maxItems: 100,
    }),
    max_packet_size: bytes({
      description: 'A client that sends a larger packet is disconnected.',
      default: '256KB',
      min: '256B',
      max: '16MB',
    }),
    max_connections: integer({ description: 'Clients connected at once.', default: 1000, min: 1, max: 100_000 }),
    max_connections_per_address: integer({
      description: 'The same from one IP address.',
      default: 100_000,
      min: 1,
      max: 100_000,
    }),
    max_connection_rate: integer({
      description: 'New connections a second; twice as many may come at once.',
      default: 1000,
      min: 1,
      max: 100_000,
    }),
    max_sessions: integer({
      description: 'Sessions that outlive their connection (clean session off), connected or not.',
      default: 10_000,
      min: 1,
      max: 1_000_000,
    }),
    max_subscriptions: integer({ description: 'Subscriptions of one client.', default: 1000, min: 1, max: 100_000 }),
    max_in_flight: integer({
      description: 'QoS 1 and 2 messages on their way to one client without an ack.',
      default: 100,
      min: 1,
      max: 65_535,
    }),
    max_qos2_handshakes: integer({
      description:
        'QoS 2 messages of one client that it has not released yet; of a session that is kept, 10000 at most.',
      default: 65_535,
      min: 1,
      max: 65_535,
    }),
    max_retained: integer({
      description: 'Retained messages; further ones are delivered but not kept.',
      default: 100_000,
      min: 1,
      max: 10_000_000,
    }),
    connect_timeout_ms: integer({
      description: 'How long a client may take to send CONNECT, milliseconds.',
      default: 10_000,
      min: 100,
      max: 600_000,
    }),
    max_keepalive: duration({
      description: 'The longest keepalive a client may ask for; longer ones, and none, count as this.',
      default: '65535s',
      min: '1s',
      max: '65535s',
    }),
    max_pending_bytes: bytes({
      description: 'Bytes that may wait to be sent to one client; beyond, on_queue_full says what happens.',
      default: '1MB',
      min: '1KB',
      max: '1GB',
    }),
    on_queue_full: choice({
      description: 'What a client costs that reads too slowly: its QoS 0 messages, or its connection.',
      of: ['drop', 'disconnect'],
      default: 'drop',
    }),
  }),
  http: table('Where programs, `sluice` commands and monitoring connect.', {
    listen: list({
      description: 'Addresses; beyond loopback with TLS (https://), or once there is a token (sluice tokens).',
      of: httpAddress,
      default: ['127.0.0.1:7883'],
      minItems: 1,
      maxItems: 16,
    }),
    cert_file: filePath({ description: 'The certificate (PEM) for https://, with those it rests on.', optional: true }),
    key_file: filePath({ description: 'The private key (PEM) of cert_file.', optional: true }),
    max_body_size: bytes({ description: 'A larger request is refused.', default: '4MB', min: '1KB', max: '64MB' }),
    max_waiting: integer({ description: 'Long polls that may wait at once.', default: 1024, min: 1, max: 10_000 }),
  }),
  storage: table('Memory and disk.', {
    memory_budget: bytes({
      description: 'What all streams together may use for their write buffers.',
      default: '128MB',
      min: '1MB',
      max: '1TB',
    }),
    segment_size: bytes({
      description: 'Size of the pieces a stream is stored in, and removed in.',
      default: '16MB',
      min: '256KB',
      max: '64MB',
    }),
    max_pending_bytes: bytes({
      description: 'Bytes of records that may wait for their commit, per stream; beyond, publishers are held back.',
      default: '8MB',
      min: '1KB',
      max: '1GB',
    }),
    max_batch_bytes: bytes({
      description: 'Records are stored in batches of about this size; a larger record travels alone.',
      default: '64KB',
      min: '1KB',
      max: '1MB',
    }),
    disk_budget: bytes({
      description: 'Most bytes of disk for everything in data_dir. Default: what retention allows.',
      optional: true,
      min: '1MB',
      max: '1024TB',
    }),
    ballast_size: bytes({
      description:
        'Disk space held in reserve for a full disk: for reading, the ledger, and a restart, which needs a segment and a bit.',
      default: '20MB',
      min: '0B',
      max: '1GB',
    }),
  }),
  mirrors: table('The streams other Sluice nodes forward to this one.', {
    retention: table('What is kept of all mirrors of one stream name together.', retentionFields),
  }),
  stream: entries('Named logs. Without any, one stream "mqtt" takes every message.', 256, streamFields),
  upstream: entries('Where records are forwarded to.', 64, upstreamFields),
  firmware: entries('Serial lines with devices that cannot speak MQTT.', 64, firmwareFields),
  queue: entries(
    'Work queues with dead letters. A queue without an entry has none: a message is tried again for ever.',
    256,
    queueFields,
  ),
}

/** The stream for the dead letters of a stream's queues, where none is named. */
export function deadLetterOf(stream: string): string {
  return `${stream}-dead`
}

/** The contents of ca_file, cert_file and key_file (PEM). */
export interface UpstreamTls {
  readonly ca?: Buffer
  readonly cert?: Buffer
  readonly key?: Buffer
}

/** What stands in file and environment, before what the absence of a key implies is filled in. */
export type WrittenConfig = ValuesOf<typeof CONFIG_FIELDS>
export type StreamConfig = WrittenConfig['stream'][number]
/** `streams` is never empty; `password` may have come from password_file. */
export type UpstreamConfig = WrittenConfig['upstream'][number] & { readonly tls: UpstreamTls | undefined }
/** The contents of the cert_file and key_file of [http] (PEM). */
export interface ServerTls {
  readonly cert: Buffer
  readonly key: Buffer
}

export type QueueConfig = WrittenConfig['queue'][number] & { readonly deadLetter: string }
/** A configuration that has been checked. `stream` ends with those for dead letters that no [[stream]] names, and the built-in `unrouted`. */
export type Config = Omit<WrittenConfig, 'upstream' | 'http' | 'queue'> & {
  readonly queue: readonly QueueConfig[]
  readonly http: WrittenConfig['http'] & { readonly tls?: ServerTls }
  readonly upstream: readonly UpstreamConfig[]
}
