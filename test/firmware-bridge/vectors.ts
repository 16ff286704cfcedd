// The test vectors that the TypeScript and the C side share: firmware-bridge/vectors/serial.json.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { BridgeMessage, DeviceMessage } from '../../firmware-bridge/serial/messages.js'

const FOLDER = join(import.meta.dirname, '..', '..', '..', 'firmware-bridge', 'vectors')

export interface Vectors {
  /** `body` and `wire` in hex; bytes within `message` as `{"hex": …}`. */
  readonly good: readonly (VectorOfFrame & {
    readonly message: Record<string, unknown>
    readonly body: string
  })[]
  readonly handshake: {
    readonly key: string
    readonly device: string
    readonly deviceNonce: string
    readonly bridgeNonce: string
    readonly epoch: number
    readonly receiveWindow: number
    readonly maxFrameBytes: number
    readonly hello: string
    readonly welcome: string
    readonly sessionKey: string
    readonly firstPublish: string
  }
  readonly bad: readonly VectorOfFrame[]
}

export interface VectorOfFrame {
  readonly name: string
  readonly from: 'device' | 'bridge'
  readonly epoch: number
  /** Of the session, where it is authenticated. */
  readonly key?: string
  readonly counter?: number
  readonly wire: string
}

export interface AuthVector {
  readonly name: string
  readonly key: string
  readonly data: string
  readonly hmac: string
}

/** HMAC-SHA-256: RFC 4231's and others, all in hex. */
export const authVectors = JSON.parse(readFileSync(join(FOLDER, 'auth.json'), 'utf8')) as readonly AuthVector[]
export const vectors = JSON.parse(readFileSync(join(FOLDER, 'serial.json'), 'utf8')) as Vectors

export function messageOfVector(message: Record<string, unknown>): DeviceMessage | BridgeMessage {
  return withBytes(message) as DeviceMessage | BridgeMessage
}

function withBytes(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  if ('hex' in value) return Buffer.from(String(value.hex), 'hex')
  return Object.fromEntries(Object.entries(value).map(([key, field]) => [key, withBytes(field)]))
}
