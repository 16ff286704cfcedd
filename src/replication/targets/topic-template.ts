// Where at the upstream a record is published: `plant7/{topic}` with {topic} the record's own MQTT topic, {stream} and {node}. Compiled
// once per lane to bytes around the topic, so that a record costs no string.

import { isUtf8 } from 'node:buffer'
import { SluiceError } from '../../base/errors.js'
import { MAX_TOPIC_BYTES, topicNameProblem } from '../../base/topic-filter.js'

export interface TopicNames {
  readonly stream: string
  readonly node: string
}

/** The parts of a mapped topic; `null` stands for the record's own topic. */
export type TopicParts = readonly (Buffer | null)[]

/** @throws SluiceError INVALID_CONFIG */
export function compileTopicTemplate(template: string, names: TopicNames): TopicParts {
  const known = template.replaceAll('{stream}', names.stream).replaceAll('{node}', names.node)
  const problem = topicNameProblem(known.replaceAll('{topic}', 'x'))
  if (problem !== null)
    throw new SluiceError('INVALID_CONFIG', `the upstream topic "${template}" ${problem}`, { template })
  const parts: (Buffer | null)[] = []
  known.split('{topic}').forEach((text, index) => {
    if (index > 0) parts.push(null)
    if (text !== '') parts.push(Buffer.from(text))
  })
  return parts
}

/** Bytes of the topic that `parts` give for a record's topic of `topicBytes`. */
export function mappedTopicBytes(parts: TopicParts, topicBytes: number): number {
  let bytes = 0
  for (const part of parts) bytes += part === null ? topicBytes : part.length
  return bytes
}

/** @returns why a record with this key cannot be published there, as a phrase, or null. */
export function mappedTopicProblem(parts: TopicParts, key: Uint8Array | null): string | null {
  if (key === null || key.length === 0) return parts.includes(null) ? 'has no MQTT topic' : null
  let highest = 0
  for (let i = 0; i < key.length; i++) {
    const byte = key[i]
    if (byte === 0 || byte === 0x23 /* # */ || byte === 0x2b /* + */) return 'has a key that is no MQTT topic name'
    highest |= byte
  }
  if (highest >= 0x80 && !isUtf8(key)) return 'has a key that is not UTF-8'
  if (mappedTopicBytes(parts, key.length) > MAX_TOPIC_BYTES)
    return `would get a topic longer than ${MAX_TOPIC_BYTES} bytes`
  return null
}
