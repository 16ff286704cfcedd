// [[upstream]]: where records are forwarded to, and how.

import { parseTopicMapping } from '../../base/topic-mapping.js'
import { byteRate, choice, duration, filePath, integer, list, parsed, quote, text, Unfit } from '../fields.js'
import { topicTemplateProblem } from '../topic-template.js'
import { NAME, NAME_FIX, name } from './names.js'

const UPSTREAM_PROTOCOLS = ['mqtt:', 'mqtts:']

export const upstreamFields = {
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
