// [[firmware]]: devices that cannot speak MQTT over TCP, on serial lines or over UDP.

import { isLoopback, parseListenAddress } from '../address.js'
import { byteRate, bytes, choice, duration, entries, filePath, flag, integer, list, parsed, text } from '../fields.js'
import { quote, Unfit } from '../unfit.js'
import { name } from './names.js'

function prefixOf(written: string): string | Unfit {
  if (/^([^+#$\0][^+#\0]*)?$/.test(written)) return written
  return new Unfit(
    `is ${quote(written)}, which is not valid`,
    'write a beginning of MQTT topics, without wildcards, that does not begin with $',
  )
}

const udpAddress = parsed({ description: '"HOST:PORT"; HOST may be * for every address.' }, (written) =>
  parseListenAddress<'udp'>(written, { usual: 'udp', unavailable: ['dtls'] }),
)

const predefinedTopic = parsed({ description: '"ID=TOPIC", ID from 1 to 65534.' }, (written) => {
  const [, id, topicName] = /^(\d{1,5})=([^+#\0]+)$/.exec(written) ?? []
  if (topicName === undefined || Number(id) < 1 || Number(id) > 65_534)
    return new Unfit(`has ${quote(written)}, which is not ID=TOPIC`, 'write "1=temperature"')
  return { id: Number(id), topicName }
})

const deviceFields = {
  id: text({
    description: 'What the device calls itself: 1 to 64 bytes.',
    pattern: /^[^+#/\0]{1,64}$/,
    fix: 'leave out +, # and /',
  }),
  key: text({
    description: 'Shared with the device, in hex: 16 to 64 bytes (openssl rand -hex 16). Better kept in key_file.',
    optional: true,
    pattern: /^([0-9a-fA-F]{2}){16,64}$/,
    fix: 'write 32 to 128 hex digits',
  }),
  topic_prefix: parsed({ description: "Instead of the line's.", optional: true }, prefixOf),
  topics: list({
    description: 'Filters of the topics, without the prefix, that it may publish and subscribe to.',
    of: text({ description: 'An MQTT topic filter.' }),
    default: ['#'],
    minItems: 1,
    maxItems: 100,
  }),
}

export const firmwareFields = {
  name: name('What the log and `sluice devices` call the line.'),
  type: choice({
    description: 'How the devices speak.',
    of: ['serial', 'mqtt-sn'],
    default: 'serial',
  }),
  ports: list({
    description:
      'Serial ports, as in /dev/ttyUSB0, or all that a * fits, as in /dev/ttyACM*. They may be plugged in later.',
    of: text({
      description: 'A serial port.',
      pattern: /^\/[^*]*\*?[^*/]*$/,
      fix: 'write a path that begins with /, with one * at most, in its last part',
    }),
    default: [],
    maxItems: 64,
  }),
  baud_rate: integer({ description: 'Bits per second.', default: 115_200, min: 300, max: 4_000_000 }),
  listen: list({
    description: 'mqtt-sn: UDP addresses; beyond loopback every device needs a key, unless authentication is false.',
    of: udpAddress,
    default: [],
    maxItems: 16,
  }),
  topic_prefix: parsed(
    {
      description: 'Goes in front of every topic; {device} stands for the device id. Empty: topics are as they are.',
      default: 'devices/{device}/',
    },
    prefixOf,
  ),
  device: entries('Who may speak here; without one, and without a key_file, any device may.', 10_000, deviceFields),
  key_file: filePath({
    description: "Keys of devices, a line ID:HEX for each, as in mosquitto's psk_file; read again on SIGHUP.",
    optional: true,
  }),
  authentication: flag({
    description:
      'Every frame carries a code made with the key of its device, and what does not is refused. Default: true for mqtt-sn beyond loopback.',
    optional: true,
  }),
  max_in_flight: integer({
    description: 'How many messages a device may have on their way without an ack.',
    default: 8,
    min: 1,
    max: 1000,
  }),
  max_frame_size: bytes({
    description: 'A longer frame, or message of MQTT-SN, is dropped.',
    default: '1KB',
    min: '64B',
    max: '63KB',
  }),
  predefined_topics: list({
    description: 'mqtt-sn: topics that devices know by a number, "ID=TOPIC", without the prefix.',
    of: predefinedTopic,
    default: [],
    maxItems: 1000,
  }),
  gateway_id: integer({ description: 'mqtt-sn: tells gateways apart.', default: 1, min: 0, max: 255 }),
  multicast: parsed(
    {
      description: 'mqtt-sn: the group, "239.1.1.1:1885", where it is searched and says that it is there.',
      optional: true,
    },
    (written) => parseListenAddress<'udp'>(written, { usual: 'udp', unavailable: [] }),
  ),
  advertise_interval: duration({
    description: 'mqtt-sn: how often it says so.',
    default: '15m',
    min: '1s',
    max: '18h',
  }),
  retry_interval: duration({
    description: 'mqtt-sn: what a device does not acknowledge by then is sent again.',
    default: '10s',
    min: '100ms',
    max: '10m',
  }),
  max_retries: integer({
    description: 'mqtt-sn: and so often, before the device is taken for lost.',
    default: 5,
    min: 0,
    max: 100,
  }),
  max_topic_ids: integer({ description: 'mqtt-sn: topic ids per device.', default: 200, min: 1, max: 10_000 }),
  max_clients: integer({
    description: 'mqtt-sn: sessions, of devices that are there and of those that may come back.',
    default: 1000,
    min: 1,
    max: 100_000,
  }),
  max_clients_per_address: integer({
    description: 'mqtt-sn: of these, from one IP address.',
    default: 250,
    min: 1,
    max: 100_000,
  }),
  max_packet_rate: integer({
    description: 'mqtt-sn: datagrams a second, from all addresses; more are dropped.',
    default: 5000,
    min: 1,
    max: 1_000_000,
  }),
  max_packet_rate_per_address: integer({
    description: 'mqtt-sn: datagrams a second from one IP address.',
    default: 1000,
    min: 1,
    max: 1_000_000,
  }),
  max_byte_rate_per_address: byteRate({
    description: 'mqtt-sn: bytes a second from one IP address.',
    default: '256KB/s',
    min: '1KB/s',
    max: '1GB/s',
  }),
}

/** Whether devices must show that they have a key, where the configuration does not say. */
export function authenticatesUnasked({
  type,
  listen,
}: {
  readonly type: 'serial' | 'mqtt-sn'
  readonly listen: readonly { readonly host: string }[]
}): boolean {
  return type === 'mqtt-sn' && listen.some(({ host }) => !isLoopback(host))
}
