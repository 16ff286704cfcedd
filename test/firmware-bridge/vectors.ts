// The test vectors that the TypeScript and the C side share: firmware-bridge/vectors/serial.json.

import { join } from 'node:path'
import type { BridgeMessage, DeviceMessage } from '../../firmware-bridge/serial/messages.js'

const FOLDER = join(import.meta.dirname, '..', '..', '..', 'firmware-bridge', 'vectors')
export const VECTORS_PATH = join(FOLDER, 'serial.json')
/** HMAC-SHA-256: RFC 4231's and others, all in hex. */
export const AUTH_VECTORS_PATH = join(FOLDER, 'auth.json')

export interface Vectors {
  /** `body` and `wire` in hex; bytes within `message` as `{"hex": …}`. */
  readonly good: readonly {
    readonly name: string
    readonly from: 'device' | 'bridge'
    readonly epoch: number
    readonly message: Record<string, unknown>
    readonly body: string
    readonly wire: string
  }[]
  readonly bad: readonly { readonly name: string; readonly epoch: number; readonly wire: string }[]
}

export function messageOfVector(message: Record<string, unknown>): DeviceMessage | BridgeMessage {
  const entries = Object.entries(message).map(([key, value]) => [
    key,
    typeof value === 'object' && value !== null && 'hex' in value ? Buffer.from(String(value.hex), 'hex') : value,
  ])
  return Object.fromEntries(entries) as DeviceMessage | BridgeMessage
}
