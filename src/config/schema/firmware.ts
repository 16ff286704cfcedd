// [[firmware]]: devices that cannot speak MQTT over TCP.

import { bytes, integer, list, text } from '../fields.js'
import { name } from './names.js'

export const firmwareFields = {
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
