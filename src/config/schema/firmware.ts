// [[firmware]]: devices that cannot speak MQTT over TCP, on serial lines.

import { bytes, choice, entries, filePath, flag, integer, list, text } from '../fields.js'
import { name } from './names.js'

const PREFIX = /^[^+#$\0][^+#\0]*$/
const PREFIX_FIX = 'write a beginning of MQTT topics, without wildcards, that does not begin with $'

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
  topic_prefix: text({
    description: "Instead of the line's.",
    optional: true,
    pattern: PREFIX,
    fix: PREFIX_FIX,
  }),
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
    of: ['serial'],
    unavailable: ['mqtt-sn'],
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
  topic_prefix: text({
    description: 'Goes in front of every topic; {device} stands for the device id.',
    default: 'devices/{device}/',
    pattern: PREFIX,
    fix: PREFIX_FIX,
  }),
  device: entries('Who may speak here; without one, and without a key_file, any device may.', 10_000, deviceFields),
  key_file: filePath({
    description: "Keys of devices, a line ID:HEX for each, as in mosquitto's psk_file; read again on SIGHUP.",
    optional: true,
  }),
  authentication: flag({
    description: 'Every frame carries a code made with the key of its device, and what does not is refused.',
    default: false,
  }),
  max_in_flight: integer({
    description: 'How many messages a device may have on their way without an ack.',
    default: 8,
    min: 1,
    max: 1000,
  }),
  max_frame_size: bytes({ description: 'A longer frame is dropped.', default: '1KB', min: '64B', max: '64KB' }),
}
