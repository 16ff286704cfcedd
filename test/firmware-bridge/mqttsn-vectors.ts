// The test vectors of MQTT-SN that the TypeScript and the C side share: firmware-bridge/vectors/mqttsn.json. They were made from the specification,
// by neither of the two codecs.

import { join } from 'node:path'
import type { SnMessage } from '../../firmware-bridge/mqttsn/messages.js'

export const MQTTSN_VECTORS_PATH = join(
  import.meta.dirname,
  '..',
  '..',
  '..',
  'firmware-bridge',
  'vectors',
  'mqttsn.json',
)

export interface MqttSnVectors {
  /** `wire` in hex; bytes within `message` as `{"hex": …}`. */
  readonly good: readonly {
    readonly name: string
    readonly message: Record<string, unknown>
    readonly wire: string
    /** The wire is right and not what we would write. */
    readonly form?: string
  }[]
  readonly bad: readonly { readonly name: string; readonly wire: string }[]
}

export function snMessageOfVector(message: Record<string, unknown>): SnMessage {
  const entries = Object.entries(message).map(([key, value]) => [
    key,
    typeof value === 'object' && value !== null && 'hex' in value ? Buffer.from(String(value.hex), 'hex') : value,
  ])
  return Object.fromEntries(entries) as SnMessage
}
