// Every key of the configuration, with a file in schema/ for each section: what it means, what may stand there, what applies without it.
// The types, the checks, the names of the environment variables and the JSON Schema all come from here. Values come out under the
// key's name in camel case, sizes in bytes, durations in milliseconds, rates in bytes per second, paths absolute.

import { choice, entries, folderPath, table, text, type ValuesOf } from './fields.js'
import { firmwareFields } from './schema/firmware.js'
import { groupsFields } from './schema/groups.js'
import { httpFields } from './schema/http.js'
import { mirrorsFields } from './schema/mirrors.js'
import { mqttFields } from './schema/mqtt.js'
import { NAME, NAME_FIX } from './schema/names.js'
import { queueFields } from './schema/queue.js'
import { storageFields } from './schema/storage.js'
import { streamFields } from './schema/stream.js'
import { type BrokerLimits, upstreamFields } from './schema/upstream.js'

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
  mqtt: table('Where devices connect.', mqttFields),
  http: table('Where programs, `sluice` commands and monitoring connect.', httpFields),
  groups: table('Consumer groups.', groupsFields),
  storage: table('Memory and disk.', storageFields),
  mirrors: table('The streams other Sluice nodes forward to this one.', mirrorsFields),
  stream: entries('Named logs. Without any, one stream "mqtt" takes every message.', 256, streamFields),
  upstream: entries('Where records are forwarded to.', 64, upstreamFields),
  firmware: entries('Devices that cannot speak MQTT over TCP: serial lines and MQTT-SN.', 64, firmwareFields),
  queue: entries(
    'Work queues with dead letters. A queue without an entry has none: a message is tried again for ever.',
    256,
    queueFields,
  ),
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
export type FirmwareConfig = WrittenConfig['firmware'][number] & { readonly authentication: boolean }
/** `streams` is never empty; `password` may have come from password_file. */
export type UpstreamConfig = WrittenConfig['upstream'][number] & {
  readonly tls: UpstreamTls | undefined
  readonly limits: BrokerLimits
}
/** The contents of the cert_file and key_file of [http] (PEM). */
export interface ServerTls {
  readonly cert: Buffer
  readonly key: Buffer
}

export type QueueConfig = WrittenConfig['queue'][number] & { readonly deadLetter: string }
/** A configuration that has been checked. `stream` ends with those for dead letters that no [[stream]] names, and the built-in `republished` (where something is) and `unrouted`. */
export type Config = Omit<WrittenConfig, 'upstream' | 'http' | 'queue' | 'firmware'> & {
  readonly firmware: readonly FirmwareConfig[]
  readonly queue: readonly QueueConfig[]
  readonly http: WrittenConfig['http'] & { readonly tls?: ServerTls }
  readonly upstream: readonly UpstreamConfig[]
}
