// Message authentication for devices that share a key with the bridge: HMAC-SHA-256, cut to 8 bytes (RFC 2104, section 5). The C side is
// ../c/sluice_auth.c; both pass ../vectors/auth.json.

import { createHmac, timingSafeEqual } from 'node:crypto'

/** Bytes of a key, inclusive. */
export const MIN_KEY_BYTES = 16
export const MAX_KEY_BYTES = 64
export const MAC_BYTES = 8
export const NONCE_BYTES = 8

/** @returns the first 8 bytes of HMAC-SHA-256 over the parts, one after the other. */
export function macOf(key: Uint8Array, ...parts: readonly Uint8Array[]): Buffer {
  return hmac(key, parts).subarray(0, MAC_BYTES)
}

/** Takes the same time whatever differs. */
export function isMacOf(mac: Uint8Array, key: Uint8Array, ...parts: readonly Uint8Array[]): boolean {
  return mac.length === MAC_BYTES && timingSafeEqual(mac, macOf(key, ...parts))
}

/** A key for one session, 32 bytes: whoever replays the session of yesterday does not have it. Parts must be of fixed length, save the last. */
export function sessionKeyOf(key: Uint8Array, ...parts: readonly Uint8Array[]): Buffer {
  return hmac(key, parts)
}

function hmac(key: Uint8Array, parts: readonly Uint8Array[]): Buffer {
  const digest = createHmac('sha256', key)
  for (const part of parts) digest.update(part)
  return digest.digest()
}
