// MQTT topic names and topic filters: validity and matching, by MQTT 3.1.1 section 4.7. Used wherever MQTT topics meet anything else:
// the router, subscriptions, ACLs, upstream mappings, queries.

import { characterProblem } from './mqtt-text.js'

/**
 * Levels a topic name or filter may have: mosquitto's limit, 200 slashes. aedes recursed once per level, which was a denial of service
 * (CVE-2020-13410 kind).
 */
export const MAX_TOPIC_LEVELS = 201
/** Bytes of UTF-8 in a topic name or filter [MQTT-4.7.3-3]. */
export const MAX_TOPIC_BYTES = 65_535

/** @returns what is wrong with a topic name, as a phrase that follows "topic …", or null if nothing is [MQTT-3.3.2-2, MQTT-4.7.3-1]. */
export function topicNameProblem(mqttTopic: string): string | null {
  if (mqttTopic.length === 0) return 'is empty'
  if (mqttTopic.includes('+') || mqttTopic.includes('#')) return 'has a wildcard; + and # are for filters'
  return commonProblem(mqttTopic)
}

/** @returns what is wrong with a topic filter, as a phrase that follows "filter …", or null if nothing is [MQTT-4.7.1-2, MQTT-4.7.1-3]. */
export function topicFilterProblem(filter: string): string | null {
  if (filter.length === 0) return 'is empty'
  const levels = filter.split('/')
  for (let i = 0; i < levels.length; i++) {
    const level = levels[i]
    if (level.includes('#') && (level !== '#' || i !== levels.length - 1))
      return 'has # elsewhere than alone in the last level'
    if (level.includes('+') && level !== '+') return 'has + beside other characters in a level'
  }
  return commonProblem(filter)
}

function commonProblem(topic: string): string | null {
  const character = characterProblem(topic) // [MQTT-1.5.3-2, MQTT-4.7.3-2]
  if (character !== null) return character
  if (topic.length > MAX_TOPIC_BYTES / 3 && Buffer.byteLength(topic) > MAX_TOPIC_BYTES)
    return `is longer than ${MAX_TOPIC_BYTES} bytes`
  let levels = 1
  for (let i = topic.indexOf('/'); i !== -1; i = topic.indexOf('/', i + 1)) levels += 1
  return levels > MAX_TOPIC_LEVELS ? `has more than ${MAX_TOPIC_LEVELS} levels` : null
}

/**
 * Whether a valid filter matches a valid topic name. Wildcards in the first level do not match names that begin with `$`
 * [MQTT-4.7.2-1]; `a/#` matches `a` too [MQTT-4.7.1.2].
 */
export function topicMatches(filter: string, mqttTopic: string): boolean {
  if (mqttTopic.charCodeAt(0) === 36 /* $ */ && (filter[0] === '#' || filter[0] === '+')) return false
  let f = 0
  let t = 0
  for (;;) {
    if (filter.charCodeAt(f) === 35 /* # */) return true
    const filterEnd = levelEnd(filter, f)
    const topicEnd = levelEnd(mqttTopic, t)
    const single = filterEnd === f + 1 && filter.charCodeAt(f) === 43 /* + */
    if (!single && (filterEnd - f !== topicEnd - t || !mqttTopic.startsWith(filter.slice(f, filterEnd), t)))
      return false
    if (topicEnd === mqttTopic.length) return filterEnd === filter.length || filter.startsWith('/#', filterEnd)
    if (filterEnd === filter.length) return false
    f = filterEnd + 1
    t = topicEnd + 1
  }
}

function levelEnd(topic: string, from: number): number {
  const slash = topic.indexOf('/', from)
  return slash === -1 ? topic.length : slash
}
