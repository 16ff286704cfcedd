// [mqtt]: where devices connect, who may, and how much of everything.

import { parseListenAddress } from '../address.js'
import { bytes, choice, duration, filePath, flag, integer, list, parsed, text } from '../fields.js'

const mqttAddress = parsed(
  { description: '"HOST:PORT", or with mqtts://, ws:// or wss:// in front; HOST may be * for every address.' },
  (written) =>
    parseListenAddress<'mqtt' | 'mqtts' | 'ws' | 'wss'>(written, {
      usual: 'mqtt',
      others: ['mqtts', 'ws', 'wss'],
      unavailable: [],
    }),
)
export const mqttFields = {
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
  crl_file: filePath({
    description:
      'Which client certificates have been revoked (PEM), of each authority in ca_file; once one of these lists is out of date nobody with a certificate gets in.',
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
    description: 'New connections a second, on average; ten times as many may come at once.',
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
    description: 'QoS 2 messages of one client that it has not released yet; of a session that is kept, 10000 at most.',
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
  max_unfinished_bytes: bytes({
    description:
      'Bytes from all clients of packets and WebSocket messages that are not whole, or that the disk is not ready for; beyond, who has most is disconnected.',
    default: '64MB',
    min: '1MB',
    max: '16GB',
  }),
  on_queue_full: choice({
    description: 'What a client costs that reads too slowly: its QoS 0 messages, or its connection.',
    of: ['drop', 'disconnect'],
    default: 'drop',
  }),
}
