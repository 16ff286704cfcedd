// Keys of state tables made from topic names. A key may have 1 KB, a topic name 64 KB: a long name is cut and told apart by its hash, so
// that keys still sort by the beginning of the name.

import { createHash } from 'node:crypto'

const MAX_PLAIN_BYTES = 900
/** UTF-8 takes at most three bytes per UTF-16 unit. */
const PREFIX_UNITS = MAX_PLAIN_BYTES / 3

/** A key of at most 1 KB, different for different names. */
export function topicKey(mqttTopic: string): string {
  if (mqttTopic.length <= PREFIX_UNITS || Buffer.byteLength(mqttTopic) <= MAX_PLAIN_BYTES) return mqttTopic
  // No topic name contains NUL, so this is no other name's key.
  return `${cut(mqttTopic)}\0${createHash('sha256').update(mqttTopic).digest('hex')}`
}

/** What the keys of all names that begin with `prefix` begin with. */
export function longestKeyPrefix(prefix: string): string {
  return cut(prefix)
}

/** The first PREFIX_UNITS units, never half a surrogate pair. */
function cut(text: string): string {
  if (text.length <= PREFIX_UNITS) return text
  const last = text.charCodeAt(PREFIX_UNITS - 1)
  return text.slice(0, last >= 0xd800 && last < 0xdc00 ? PREFIX_UNITS - 1 : PREFIX_UNITS)
}
