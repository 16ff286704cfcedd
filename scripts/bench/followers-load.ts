// Many consumer groups that follow one stream over HTTP, a member each, while QoS 1 messages come at a fixed rate: how long after it ought to have been
// sent has each group received each message. Either each member follows, one endless answer of lines (NDJSON), or it polls, a request after each
// answer (stored bytes). Both are read by hand, so that this program is not what is measured. Takes its shape as JSON in the first argument.

import { connect, type Socket } from 'node:net'
import { encodePublish } from '../../src/cli/bench/mqtt-packets.js'
import { decodeRecords } from '../../src/record/record-batch.js'
import { fail, finish, LoadConnection, wait } from './load-connection.js'
import { paced } from './pacer.js'

export interface FollowersShape {
  readonly mqttPort: number
  readonly httpPort: number
  readonly stream: string
  readonly groups: number
  readonly by: 'follow' | 'poll'
  readonly messagesPerSecond: number
  readonly payloadBytes: number
  readonly warmUpMs: number
  readonly measureMs: number
}

export interface FollowersResult {
  readonly p50Ms: number
  readonly p99Ms: number
  readonly maxMs: number
  readonly received: number
  /** Answers, or pieces of the endless one, with records, over all groups. */
  readonly answers: number
  /** Of this program, of a core. */
  readonly busy: number
}

const PUBLISHERS = 10
const STEP_MS = 0.1
const ARRIVAL_MS = 5000
const HEADERS_END = Buffer.from('\r\n\r\n')
const LINE_END = 0x0a
const OFFSET_FIELD = '"offset":'
const VALUE_FIELD = '"value":"'

/** Counts by tenths of a millisecond, up to a minute. */
class Histogram {
  private readonly counts = new Uint32Array(600_000)
  total = 0
  maxMs = 0

  add(ms: number): void {
    this.counts[Math.min(this.counts.length - 1, Math.floor(ms / STEP_MS))] += 1
    this.total += 1
    if (ms > this.maxMs) this.maxMs = ms
  }

  quantile(q: number): number {
    let left = Math.floor(this.total * q)
    for (let i = 0; i < this.counts.length; i++) if ((left -= this.counts[i]) < 0) return (i + 1) * STEP_MS
    return this.maxMs
  }
}

const shape = JSON.parse(process.argv[2]) as FollowersShape
const latencies = new Histogram()
let answers = 0
let receivedInAll = 0
let measuringFromMs = Number.POSITIVE_INFINITY

/** One member of a group of its own. */
class Follower {
  private request: Buffer = Buffer.alloc(0)
  private takes: (bytes: Buffer) => void = () => {}
  private rest: Buffer = Buffer.alloc(0)
  private next = 0

  private constructor(private readonly socket: Socket) {
    socket.on('error', (error) => fail(error.message))
    socket.on('close', () => fail('the node closed a connection'))
  }

  static async join(group: string): Promise<Follower> {
    const base = `http://127.0.0.1:${shape.httpPort}/v1/groups/${group}/members`
    const body = JSON.stringify({ streams: [shape.stream], offset_reset: 'latest' })
    const reply = await fetch(base, { method: 'POST', headers: { 'content-type': 'application/json' }, body })
    if (!reply.ok) fail(await reply.text())
    const { member_id } = (await reply.json()) as { member_id: string }
    const follower = new Follower(connect({ port: shape.httpPort, host: '127.0.0.1', noDelay: true }))
    const [query, type] =
      shape.by === 'follow'
        ? ['follow=true', 'application/x-ndjson']
        : ['wait_ms=10000', 'application/vnd.sluice.batches']
    follower.request = Buffer.from(
      `GET /v1/groups/${group}/members/${member_id}/records?${query} HTTP/1.1\r\nhost: 127.0.0.1\r\naccept: ${type}\r\n\r\n`,
    )
    follower.takes =
      shape.by === 'follow' ? (bytes) => follower.takeLines(bytes) : (bytes) => follower.takeAnswer(bytes)
    follower.socket.on('data', (bytes) =>
      follower.takes(follower.rest.length === 0 ? bytes : Buffer.concat([follower.rest, bytes])),
    )
    follower.socket.write(follower.request)
    return follower
  }

  /** Each piece of the endless answer ends with a line; a record is a line that begins as JSON does, anything else frames the pieces. */
  private takeLines(bytes: Buffer): void {
    const nowMs = performance.now()
    const end = bytes.lastIndexOf(LINE_END) + 1
    this.rest = Buffer.from(bytes.subarray(end))
    const lines = bytes.toString('latin1', 0, end).split('\n')
    if (lines[0].startsWith('HTTP/1.1 ') && !lines[0].startsWith('HTTP/1.1 200')) fail(lines.join('\n'))
    let records = 0
    for (const line of lines) {
      if (!line.startsWith('{')) continue
      const offsetAt = line.indexOf(OFFSET_FIELD)
      if (offsetAt === -1) fail(line)
      records += 1
      const valueAt = line.indexOf(VALUE_FIELD) + VALUE_FIELD.length
      this.record(
        Number.parseInt(line.slice(offsetAt + OFFSET_FIELD.length, offsetAt + 30), 10),
        Number.parseFloat(line.slice(valueAt, valueAt + 20)),
        nowMs,
      )
    }
    if (records > 0) answers += 1
  }

  private takeAnswer(bytes: Buffer): void {
    this.rest = bytes
    const headEnd = bytes.indexOf(HEADERS_END)
    if (headEnd === -1) return
    const head = bytes.toString('latin1', 0, headEnd)
    if (!head.startsWith('HTTP/1.1 200')) fail(bytes.toString())
    const length = Number(/\r\ncontent-length: (\d+)/i.exec(head)?.[1] ?? fail('an answer without a content-length'))
    const bodyAt = headEnd + HEADERS_END.length
    if (bytes.length < bodyAt + length) return
    this.socket.write(this.request)
    this.batches(bytes.subarray(bodyAt, bodyAt + length))
    this.rest = Buffer.from(bytes.subarray(bodyAt + length))
  }

  private batches(batches: Buffer): void {
    const nowMs = performance.now()
    if (batches.length > 0) answers += 1
    for (let at = 0; at < batches.length; ) {
      const end = at + 12 + batches.readInt32BE(at + 8)
      for (const { offset, value } of decodeRecords(batches.subarray(at, end)))
        if (value !== null) this.record(offset, Number.parseFloat(value.toString('latin1', 0, 20)), nowMs)
      at = end
    }
  }

  private record(offset: number, dueMs: number, nowMs: number): void {
    if (offset < this.next) return
    if (offset > this.next && this.next > 0) fail(`record ${this.next} did not come`)
    this.next = offset + 1
    receivedInAll += 1
    if (dueMs >= measuringFromMs) latencies.add(nowMs - dueMs)
  }
}

const publishers: LoadConnection[] = []
for (let i = 0; i < PUBLISHERS; i++) {
  const publisher = await LoadConnection.open(shape.mqttPort, `publisher-${i}`, 4096)
  publisher.onBytes = () => {}
  publishers.push(publisher)
}
for (let i = 0; i < shape.groups; i++) await Follower.join(`group-${i}`)

let published = 0
function publish(dueMs: number): void {
  const payload = Buffer.alloc(shape.payloadBytes, 0x2e)
  payload.write(`${dueMs.toFixed(3)} `)
  const id = (Math.floor(published / PUBLISHERS) % 65_535) + 1
  publishers[published % PUBLISHERS].socket.write(encodePublish(`bench/${published % PUBLISHERS}`, payload, 1, id))
  published += 1
}

const publishFor = (milliseconds: number): Promise<void> =>
  paced((milliseconds / 1000) * shape.messagesPerSecond, shape.messagesPerSecond, (_, dueMs) => publish(dueMs))

await publishFor(shape.warmUpMs)
measuringFromMs = performance.now()
answers = 0
const before = process.cpuUsage()
await publishFor(shape.measureMs)
const { user, system } = process.cpuUsage(before)
const busy = (user + system) / 1000 / (performance.now() - measuringFromMs)
const answersMeasured = answers
const givenUpMs = performance.now() + ARRIVAL_MS
while (receivedInAll < published * shape.groups) {
  if (performance.now() > givenUpMs) fail(`${published * shape.groups - receivedInAll} deliveries did not come`)
  await wait(10)
}
const result: FollowersResult = {
  p50Ms: latencies.quantile(0.5),
  p99Ms: latencies.quantile(0.99),
  maxMs: latencies.maxMs,
  received: latencies.total,
  answers: answersMeasured,
  busy,
}
finish(result)
