// Where at the upstream records are published: `plant7/{topic}`. Compiled once per partition to bytes around what varies from record to
// record, so that in the usual case, where only {topic} does, a record costs no string.
//
//   the same for a whole partition   {node} {stream} {partition} {client_id}
//   of each record                   {topic} {topic:url} (as in a URL, %2F for /) {offset} {timestamp} (milliseconds since 1970)

import { isUtf8 } from 'node:buffer'
import { SluiceError } from '../../base/errors.js'
import { MAX_TOPIC_BYTES, topicNameProblem } from '../../base/topic-filter.js'
import type { Offset } from '../../record/record.js'
import type { TopicBytes } from './publish-encoder.js'

export interface TopicNames {
  readonly stream: string
  readonly node: string
  /** Default 0. */
  readonly partition?: number
  /** Default: empty. */
  readonly clientId?: string
}

/** The parts of a mapped topic; `null` stands for the record's own topic. */
type TopicParts = readonly (Buffer | null)[]

/** What the far side takes, where it is less than MQTT allows. */
export interface TopicLimits {
  readonly maxTopicBytes?: number
  /** Parts between slashes, inclusive. */
  readonly maxTopicLevels?: number
}

const OF_RECORD = /\{(topic|topic:url|offset|timestamp)\}/
const SLASH = 0x2f

/** @throws SluiceError INVALID_CONFIG */
function compileTopicTemplate(template: string, names: TopicNames): TopicParts {
  const parts: (Buffer | null)[] = []
  fixed(template, names)
    .split('{topic}')
    .forEach((text, index) => {
      if (index > 0) parts.push(null)
      if (text !== '') parts.push(Buffer.from(text))
    })
  return parts
}

/** What of a record its topic is made of: the key is `bytes` from `keyStart` to `keyEnd`; `keyStart` is -1 if there is none. */
export interface KeyedRecord {
  readonly offset: Offset
  readonly timestampMs: number
  readonly bytes: Buffer
  readonly keyStart: number
  readonly keyEnd: number
}

/** The topics of records, one after the other: `map` one, then copy it. @throws SluiceError INVALID_CONFIG */
export class TopicMapper implements TopicBytes {
  /** Of the topic mapped last. */
  length = 0
  private readonly parts: TopicParts | null
  /** Texts and placeholders by turns. */
  private readonly pieces: readonly string[]
  private readonly usesTopic: boolean
  private readonly onlyInUrl: boolean
  /** Where there are `parts`: what they are in all, and how often the record's own topic stands among them. */
  private readonly fixedBytes: number
  private readonly ownTimes: number
  private readonly limits: Required<TopicLimits>
  /** The topic mapped last is `filled`, or `parts` around this record's own. */
  private record: KeyedRecord = NO_RECORD
  private filled: Buffer | null = null

  constructor(template: string, names: TopicNames, limits: TopicLimits = {}) {
    const { maxTopicBytes = MAX_TOPIC_BYTES, maxTopicLevels = Number.POSITIVE_INFINITY } = limits
    this.limits = { maxTopicBytes, maxTopicLevels }
    this.pieces = fixed(template, names).split(OF_RECORD)
    const onlyTopic = this.pieces.every((piece, i) => i % 2 === 0 || piece === 'topic')
    this.parts = onlyTopic ? compileTopicTemplate(template, names) : null
    const placeholders = this.pieces.filter((_, i) => i % 2 === 1)
    this.usesTopic = placeholders.some((piece) => piece.startsWith('topic'))
    this.onlyInUrl = !placeholders.includes('topic')
    this.ownTimes = placeholders.length
    this.fixedBytes = (this.parts ?? []).reduce((sum, part) => sum + (part?.length ?? 0), 0)
  }

  /** @returns why the record cannot have a topic there, as a phrase; or null. */
  map(record: KeyedRecord): string | null {
    const { bytes, keyStart, keyEnd } = record
    const problem = this.usesTopic ? keyProblem(bytes, keyStart, keyEnd, this.onlyInUrl) : null
    if (problem !== null) return problem
    this.record = record
    if (this.parts === null) {
      this.filled = Buffer.from(this.fill(record, bytes.toString('utf8', keyStart, keyEnd)))
      this.length = this.filled.length
    } else this.length = this.fixedBytes + this.ownTimes * (keyEnd - keyStart)
    return this.tooLong()
  }

  copy(target: Buffer, at: number): number {
    const { filled, parts } = this
    if (parts === null) return (filled as Buffer).copy(target, at)
    const { bytes, keyStart, keyEnd } = this.record
    let end = at
    for (const part of parts) end += part === null ? bytes.copy(target, end, keyStart, keyEnd) : part.copy(target, end)
    return end - at
  }

  /** Lets go of the record mapped last, and the batch it is in. */
  release(): void {
    this.record = NO_RECORD
    this.filled = null
  }

  /** For messages that carry several records: what is of one record is that of the first. */
  mapFirst({ offset, timestampMs }: Pick<KeyedRecord, 'offset' | 'timestampMs'>): Buffer {
    return Buffer.from(this.fill({ offset, timestampMs }, ''))
  }

  private fill({ offset, timestampMs }: Pick<KeyedRecord, 'offset' | 'timestampMs'>, own: string): string {
    const values: Record<string, () => string> = {
      topic: () => own,
      'topic:url': () => encodeURIComponent(own),
      offset: () => String(offset),
      timestamp: () => String(timestampMs),
    }
    return this.pieces.map((piece, i) => (i % 2 === 0 ? piece : values[piece]())).join('')
  }

  private tooLong(): string | null {
    const { maxTopicBytes, maxTopicLevels } = this.limits
    if (this.length > maxTopicBytes) return `would get a topic longer than ${maxTopicBytes} bytes`
    if (maxTopicLevels === Number.POSITIVE_INFINITY) return null
    const topic = Buffer.alloc(this.length)
    this.copy(topic, 0)
    const levels = 1 + slashesIn(topic)
    return levels > maxTopicLevels
      ? `would get a topic of ${levels} levels, and there are at most ${maxTopicLevels}`
      : null
  }
}

const NO_TOPIC = 'has no MQTT topic'
const NOT_UTF8 = 'has a key that is not UTF-8'
const NO_NAME = 'has a key that is no MQTT topic name'
const NO_RECORD: KeyedRecord = { offset: 0 as Offset, timestampMs: 0, bytes: Buffer.alloc(0), keyStart: -1, keyEnd: -1 }

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

/** @returns why bytes[start, end) cannot stand in a topic, or, as in a URL, become part of one. */
function keyProblem(bytes: Buffer, start: number, end: number, inUrl: boolean): string | null {
  if (start === -1 || start === end) return NO_TOPIC
  let highest = 0
  for (let at = start; at < end; at++) {
    const byte = bytes[at]
    if (!inUrl && (byte === 0 || byte === 0x23 /* # */ || byte === 0x2b) /* + */) return NO_NAME
    highest |= byte
  }
  return highest >= 0x80 && !isUtf8(bytes.subarray(start, end)) ? NOT_UTF8 : null
}

function slashesIn(bytes: Uint8Array): number {
  let slashes = 0
  for (const byte of bytes) if (byte === SLASH) slashes += 1
  return slashes
}
