// What clouds take, as far as it is known before the first message: filled in where the configuration says nothing, and checked where it does.
// Where the numbers come from:
//
// aws-iot        https://docs.aws.amazon.com/general/latest/gr/iot-core.html ("message broker and protocol limits and quotas"), and
//                https://docs.aws.amazon.com/iot/latest/developerguide/limits-iot.html: per connection 100 publishes and 512 KB a second, 100
//                unacknowledged messages; payloads of 128 KB; topics of 7 slashes and 256 bytes; client ids of 128 bytes; 8 filters in a
//                SUBSCRIBE; a CONNECT a second per client id; keepalive of 5 to 1200 s; QoS 0 and 1. The same topic, client id and rate limits in
//                https://aws.github.io/aws-iot-device-sdk-js-v2/node/enums/mqtt5.ClientExtendedValidationAndFlowControl.html.
//                On port 443 the ALPN name x-amzn-mqtt-ca: https://docs.aws.amazon.com/iot/latest/developerguide/protocols.html.
// azure-iot-hub  https://learn.microsoft.com/azure/iot/iot-mqtt-connect-to-iot-hub: MQTT 3.1.1 over TLS on port 8883; client id = device id; user
//                name HOST/DEVICE/?api-version=2021-04-12; topic devices/DEVICE/messages/events/ with properties behind it, commands from
//                devices/DEVICE/messages/devicebound/#; QoS 2 closes the connection; retain is not stored; 256 KB; keepalive of at most 1767 s.

import { snakeCase } from '../base/snake-case.js'
import type { BrokerLimits } from './schema/upstream.js'
import type { WrittenConfig } from './schema.js'
import { formatSize } from './units.js'

interface Preset {
  readonly limits: BrokerLimits
  /** By key; for keys that are not written. */
  readonly values: Readonly<Record<string, unknown>>
  /** By key: the most that may be written, inclusive. */
  readonly most: Readonly<Record<string, number>>
}

const KB = 1024

export const PRESETS: Readonly<Record<'aws-iot' | 'azure-iot-hub', Preset>> = {
  'aws-iot': {
    limits: { maxTopicBytes: 256, maxTopicLevels: 8, bandwidthBurst: 32 * KB, maxClientIdBytes: 128 },
    // 352 KB/s, a burst of 32 KB and one message of 128 KB beyond it: no second sees more than 512 KB.
    values: { maxInFlight: 100, maxRate: 100, bandwidth: 352 * KB, maxPacketSize: 128 * KB, reconnectMinMs: 2000 },
    most: { maxInFlight: 100, maxRate: 100, bandwidth: 512 * KB, maxPacketSize: 128 * KB, keepalive: 1_200_000 },
  },
  'azure-iot-hub': {
    limits: { maxClientIdBytes: 128 },
    values: { retain: false, maxPacketSize: 256 * KB, topic: 'devices/{client_id}/messages/events/topic={topic:url}' },
    most: { maxPacketSize: 256 * KB, keepalive: 1_767_000 },
  },
}

const AWS_ALPN = 'x-amzn-mqtt-ca'
/** Of the interface that devices speak. */
const AZURE_API_VERSION = '2021-04-12'
const AZURE_TOPIC = 'devices/{client_id}/messages/events/'

/** The topic of envelopes, where none is written. */
const ENVELOPE_TOPIC = 'sluice/{node}/{stream}'
const AZURE_ENVELOPE_TOPIC = `${AZURE_TOPIC}node={node}&stream={stream}`

type Upstream = WrittenConfig['upstream'][number]

/** Fills in what a preset, and an envelope, implies for keys that are not written. */
export function withPreset(upstream: Upstream, isWritten: (key: string) => boolean): Upstream {
  const filled: Record<string, unknown> = { ...upstream }
  const { preset, envelope, url, clientId } = upstream
  const fill = (key: string, value: unknown): void => {
    if (!isWritten(snakeCase(key))) filled[key] = value
  }
  if (preset !== undefined) for (const [key, value] of Object.entries(PRESETS[preset].values)) fill(key, value)
  if (envelope !== 'none') fill('topic', preset === 'azure-iot-hub' ? AZURE_ENVELOPE_TOPIC : ENVELOPE_TOPIC)
  if (preset === 'aws-iot' && url?.endsWith(':443')) fill('alpn', [AWS_ALPN])
  if (preset === 'azure-iot-hub' && url !== undefined && clientId !== undefined)
    fill('username', `${new URL(url).hostname}/${clientId}/?api-version=${AZURE_API_VERSION}`)
  return filled as unknown as Upstream
}

/** What is wrong with an upstream by the rules of its cloud: the key, what, how to mend it. */
export function* presetProblems(
  upstream: Upstream,
  isWritten: (key: string) => boolean,
): Iterable<readonly [key: string, what: string, fix: string]> {
  const { preset, type, url, topic, clientId } = upstream
  if (preset === undefined) return
  const { most, limits } = PRESETS[preset]
  if (type === 'sluice') yield ['preset', 'has no effect: a Sluice node has no such limits', 'remove it']
  if (url?.startsWith('mqtt:')) yield ['url', `is not encrypted, and ${preset} takes nothing else`, 'use mqtts://']
  for (const [key, limit] of Object.entries(most)) {
    const value = (upstream as unknown as Record<string, unknown>)[key]
    const name = snakeCase(key)
    if (isWritten(name) && typeof value === 'number' && value > limit)
      yield [name, `is more than ${preset} takes (${shown(key, limit)})`, 'lower it']
  }
  if (
    clientId !== undefined &&
    limits.maxClientIdBytes !== undefined &&
    Buffer.byteLength(clientId) > limits.maxClientIdBytes
  )
    yield ['client_id', `is longer than ${preset} takes (${limits.maxClientIdBytes} bytes)`, 'choose a shorter one']
  const { maxTopicLevels = Number.POSITIVE_INFINITY } = limits
  if (topic?.split('/').length > maxTopicLevels)
    yield ['topic', `has more levels than ${preset} takes (${maxTopicLevels})`, 'make it shorter']
  const tooDeep = upstream.downlink?.find(({ from }) => from.split('/').length > maxTopicLevels)
  if (tooDeep !== undefined)
    yield [
      'downlink',
      `has "${tooDeep.from}", with more levels than ${preset} takes (${maxTopicLevels})`,
      'make it shorter',
    ]
  if (preset === 'aws-iot') {
    if (!isWritten('cert_file') && upstream.username === undefined)
      yield ['cert_file', 'is missing: aws-iot knows a device by its certificate', 'set cert_file and key_file']
    if (topic?.startsWith('$') && !topic.startsWith('$aws/rules/'))
      yield ['topic', 'begins with $, which aws-iot keeps for itself', 'only $aws/rules/RULE/… can be published to']
    return
  }
  if (!isWritten('client_id')) yield ['client_id', 'is missing: to azure-iot-hub it is the device id', 'add it']
  if (!isWritten('cert_file') && upstream.password === undefined && upstream.passwordFile === undefined)
    yield [
      'password_file',
      'is missing: azure-iot-hub wants a SAS token, or a certificate',
      'set it, or cert_file and key_file',
    ]
  const events = topic?.replaceAll('{client_id}', clientId ?? '{client_id}')
  if (events !== undefined && !events.startsWith(AZURE_TOPIC.replace('{client_id}', clientId ?? '{client_id}')))
    yield ['topic', 'is none that azure-iot-hub takes', `begin it with "${AZURE_TOPIC}"`]
  const commands = `devices/${clientId ?? 'DEVICE'}/messages/devicebound/`
  for (const { from } of upstream.downlink)
    if (!from.startsWith(commands))
      yield ['downlink', `has "${from}", which azure-iot-hub does not offer`, `use "${commands}#"`]
}

function shown(key: string, limit: number): string {
  if (key === 'keepalive') return `${Math.floor(limit / 1000)}s`
  if (key === 'maxPacketSize') return formatSize(limit)
  return key === 'bandwidth' ? `${formatSize(limit)}/s` : String(limit)
}
