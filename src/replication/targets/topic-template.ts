// Where at the upstream records are published: `plant7/{topic}`. Compiled once per partition to bytes around what varies from record to
// record, so that in the usual case, where only {topic} does, a record costs no string.
//
//   the same for a whole partition   {node} {stream} {partition} {client_id}
//   of each record                   {topic} {topic:url} (as in a URL, %2F for /) {offset} {timestamp} (milliseconds since 1970)

import { isUtf8 } from 'node:buffer'
import { SluiceError } from '../../base/errors.js'
import { MAX_TOPIC_BYTES, topicNameProblem } from '../../base/topic-filter.js'
import type { LogRecord } from '../../record/record.js'

export interface TopicNames {
  readonly stream: string
  readonly node: string
  /** Default 0. */
  readonly partition?: number
  /** Default: empty. */
  readonly clientId?: string
}

/** The parts of a mapped topic; `null` stands for the record's own topic. */
export type TopicParts = readonly (Buffer | null)[]

/** What the far side takes, where it is less than MQTT allows. */
export interface TopicLimits {
  readonly maxTopicBytes?: number
  /** Parts between slashes, inclusive. */
  readonly maxTopicLevels?: number
}

const OF_RECORD = /\{(topic|topic:url|offset|timestamp)\}/
/** Alone: the record's own topic. */
const OWN_TOPIC: TopicParts = [null]
const SLASH = 0x2f

/** @throws SluiceError INVALID_CONFIG */
export function compileTopicTemplate(template: string, names: TopicNames): TopicParts {
  const parts: (Buffer | null)[] = []
  fixed(template, names)
    .split('{topic}')
    .forEach((text, index) => {
      if (index > 0) parts.push(null)
      if (text !== '') parts.push(Buffer.from(text))
    })
  return parts
}

/** @throws SluiceError INVALID_CONFIG */
export class TopicMapper {
  private readonly parts: TopicParts | null
  /** Texts and placeholders by turns. */
  private readonly pieces: readonly string[]

  constructor(
    template: string,
    names: TopicNames,
    private readonly limits: TopicLimits = {},
  ) {
    this.pieces = fixed(template, names).split(OF_RECORD)
    const onlyTopic = this.pieces.every((piece, i) => i % 2 === 0 || piece === 'topic')
    this.parts = onlyTopic ? compileTopicTemplate(template, names) : null
  }

  /** @returns the record's topic there: its parts, and what `null` among them stands for; or why it cannot have one, as a phrase. */
  map(record: LogRecord): { readonly parts: TopicParts; readonly topic: Buffer; readonly topicBytes: number } | string {
    const { parts } = this
    const own = record.key ?? EMPTY
    if (parts === null) {
      if ((own.length === 0 && this.usesTopic) || !isUtf8(own)) return own.length === 0 ? NO_TOPIC : NOT_UTF8
      const topic = Buffer.from(this.fill(record, own))
      return this.tooLong(topic, OWN_TOPIC, topic.length) ?? { parts: OWN_TOPIC, topic, topicBytes: topic.length }
    }
    const topicBytes = mappedTopicBytes(parts, own.length)
    const problem = mappedTopicProblem(parts, record.key) ?? this.tooLong(own, parts, topicBytes)
    return problem ?? { parts, topic: own, topicBytes }
  }

  /** For messages that carry several records: what is of one record is that of the first. */
  mapFirst(record: LogRecord): Buffer {
    return Buffer.from(this.fill(record, EMPTY))
  }

  private get usesTopic(): boolean {
    return this.pieces.some((piece, i) => i % 2 === 1 && piece.startsWith('topic'))
  }

  private fill({ offset, timestampMs }: LogRecord, own: Buffer): string {
    const values: Record<string, () => string> = {
      topic: () => own.toString(),
      'topic:url': () => encodeURIComponent(own.toString()),
      offset: () => String(offset),
      timestamp: () => String(timestampMs),
    }
    return this.pieces.map((piece, i) => (i % 2 === 0 ? piece : values[piece]())).join('')
  }

  private tooLong(topic: Buffer, parts: TopicParts, topicBytes: number): string | null {
    const { maxTopicBytes = MAX_TOPIC_BYTES, maxTopicLevels } = this.limits
    if (topicBytes > maxTopicBytes) return `would get a topic longer than ${maxTopicBytes} bytes`
    if (maxTopicLevels === undefined) return null
    const levels = parts.reduce((sum, part) => sum + slashesIn(part ?? topic), 1)
    return levels > maxTopicLevels
      ? `would get a topic of ${levels} levels, and there are at most ${maxTopicLevels}`
      : null
  }
}

const EMPTY: Buffer = Buffer.alloc(0)
const NO_TOPIC = 'has no MQTT topic'
const NOT_UTF8 = 'has a key that is not UTF-8'

/** The template with what is the same for all records filled in. @throws SluiceError INVALID_CONFIG */
function fixed(template: string, { stream, node, partition = 0, clientId = '' }: TopicNames): string {
  const known = template
    .replaceAll('{stream}', stream)
    .replaceAll('{node}', node)
    .replaceAll('{partition}', String(partition))
    .replaceAll('{client_id}', clientId)
  const problem = topicNameProblem(known.replaceAll(new RegExp(OF_RECORD, 'g'), 'x'))
  if (problem !== null)
    throw new SluiceError('INVALID_CONFIG', `the upstream topic "${template}" ${problem}`, { template })
  return known
}

/** Bytes of the topic that `parts` give for a record's topic of `topicBytes`. */
export function mappedTopicBytes(parts: TopicParts, topicBytes: number): number {
  let bytes = 0
  for (const part of parts) bytes += part === null ? topicBytes : part.length
  return bytes
}

/** @returns why a record with this key cannot be published there, its length apart, as a phrase; or null. */
export function mappedTopicProblem(parts: TopicParts, key: Uint8Array | null): string | null {
  if (key === null || key.length === 0) return parts.includes(null) ? NO_TOPIC : null
  let highest = 0
  for (let i = 0; i < key.length; i++) {
    const byte = key[i]
    if (byte === 0 || byte === 0x23 /* # */ || byte === 0x2b /* + */) return 'has a key that is no MQTT topic name'
    highest |= byte
  }
  return highest >= 0x80 && !isUtf8(key) ? NOT_UTF8 : null
}

function slashesIn(bytes: Uint8Array): number {
  let slashes = 0
  for (const byte of bytes) if (byte === SLASH) slashes += 1
  return slashes
}
