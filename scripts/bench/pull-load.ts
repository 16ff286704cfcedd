// Reads a whole stream once and says how fast: over HTTP as stored bytes or as JSON, through the client as a member of a group that commits, or as a
// JetStream pull consumer that acknowledges. Takes its shape as JSON in the first argument.

import { once } from 'node:events'
import { connect } from 'node:net'
import { SluiceClient } from '../../src/client/index.js'
import { fail, finish, wait } from './load-connection.js'
import { NatsConnection } from './nats-connection.js'

export interface PullShape {
  readonly by: 'stored' | 'json' | 'client' | 'jetstream-fill' | 'jetstream'
  /** Of the node's HTTP interface, or of nats-server. */
  readonly port: number
  readonly stream: string
  readonly records: number
  readonly payloadBytes: number
}

export interface PullResult {
  readonly recordsPerSecond: number
  /** Of this program, of a core. */
  readonly busy: number
}

const HEADERS_END = Buffer.from('\r\n\r\n')
const BATCH_BYTES_AT = 8
const BATCH_COUNT_AT = 57
const NATS_BATCH = 10_000
const SUBJECT = 'bench.load'

const shape = JSON.parse(process.argv[2]) as PullShape

/** One request after the other on one connection; the next is sent as soon as the head of an answer has said where to go on. */
async function readOverHttp(accept: string, countOf: (body: Buffer) => number): Promise<void> {
  const socket = connect({ port: shape.port, host: '127.0.0.1', noDelay: true })
  socket.on('error', (error) => fail(error.message))
  await once(socket, 'connect')
  const ask = (offset: number): boolean =>
    socket.write(
      `GET /v1/streams/${shape.stream}/partitions/0/records?offset=${offset}&max_records=10000&max_bytes=1048576 HTTP/1.1\r\nhost: 127.0.0.1\r\naccept: ${accept}\r\n\r\n`,
    )
  let [asked, counted, head] = [0, 0, '']
  let chunks: Buffer[] = []
  let bytes = 0
  let bodyBytes = -1
  ask(0)
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    chunks.push(chunk)
    bytes += chunk.length
    if (bodyBytes === -1) {
      const all = Buffer.concat(chunks)
      const end = all.indexOf(HEADERS_END)
      if (end === -1) continue
      head = all.toString('latin1', 0, end)
      if (!head.startsWith('HTTP/1.1 200')) fail(all.toString())
      bodyBytes = Number(/\r\ncontent-length: (\d+)/i.exec(head)?.[1])
      chunks = [all.subarray(end + HEADERS_END.length)]
      bytes = chunks[0].length
      asked = Number(/\r\nx-sluice-next-offset: (\d+)/i.exec(head)?.[1])
      if (asked < shape.records) ask(asked)
    }
    if (bytes < bodyBytes) continue
    const all = Buffer.concat(chunks, bytes)
    counted += countOf(all.subarray(0, bodyBytes))
    chunks = bytes > bodyBytes ? [all.subarray(bodyBytes)] : []
    bytes -= bodyBytes
    bodyBytes = -1
    if (counted >= shape.records) break
  }
  if (counted !== shape.records) fail(`${counted} records came, not ${shape.records}`)
}

function storedRecords(body: Buffer): number {
  let count = 0
  for (let at = 0; at < body.length; at += 12 + body.readInt32BE(at + BATCH_BYTES_AT))
    count += body.readInt32BE(at + BATCH_COUNT_AT)
  return count
}

/** Counted, not parsed: what a program makes of JSON is its own affair. */
function jsonRecords(body: Buffer): number {
  let count = 0
  for (let at = body.indexOf('"offset":'); at !== -1; at = body.indexOf('"offset":', at + 1)) count += 1
  return count
}

async function readWithClient(): Promise<void> {
  const client = new SluiceClient({ url: `http://127.0.0.1:${shape.port}` })
  const consumer = client.consumer({ group: `bench-${process.pid}`, streams: [shape.stream] })
  let [count, bytes] = [0, 0]
  for await (const record of consumer) {
    bytes += record.value?.length ?? 0
    if (++count === shape.records) break
  }
  if (bytes !== shape.records * shape.payloadBytes) fail(`${bytes} bytes of payload came`)
}

async function fillJetStream(): Promise<void> {
  const nats = await NatsConnection.open(shape.port)
  const config = { name: shape.stream, subjects: [SUBJECT], storage: 'file', retention: 'limits', num_replicas: 1 }
  await nats.ask(`$JS.API.STREAM.CREATE.${shape.stream}`, config)
  const payload = 'x'.repeat(shape.payloadBytes)
  for (let i = 0; i < shape.records; i++)
    if (!nats.publish(SUBJECT, payload) && i % 1000 === 0) await once(nats.socket, 'drain')
  for (;;) {
    const { state } = await nats.ask<{ state: { messages: number } }>(`$JS.API.STREAM.INFO.${shape.stream}`, undefined)
    if (state.messages === shape.records) return
    await wait(50)
  }
}

/** Two pulls are under way; each batch is acknowledged by its last message, as a commit of a group is. */
async function readFromJetStream(): Promise<void> {
  const nats = await NatsConnection.open(shape.port)
  const name = `pull-${process.pid}`
  await nats.ask(`$JS.API.CONSUMER.DURABLE.CREATE.${shape.stream}.${name}`, {
    stream_name: shape.stream,
    config: { durable_name: name, ack_policy: 'all', deliver_policy: 'all', max_ack_pending: 10 * NATS_BATCH },
  })
  const inbox = `_INBOX.pull.${process.pid}`
  nats.subscribe(inbox, 1)
  const pull = (): void => {
    nats.publish(`$JS.API.CONSUMER.MSG.NEXT.${shape.stream}.${name}`, JSON.stringify({ batch: NATS_BATCH }), inbox)
  }
  let count = 0
  await new Promise<void>((resolve) => {
    nats.onMessage = ({ sid, reply, isStatus }) => {
      if (sid !== 1 || isStatus) return
      count += 1
      if (count % NATS_BATCH !== 0 && count !== shape.records) return
      nats.publish(reply, '+ACK')
      if (count === shape.records) resolve()
      else pull()
    }
    pull()
    pull()
  })
}

const WAYS: Readonly<Record<PullShape['by'], () => Promise<void>>> = {
  stored: () => readOverHttp('application/vnd.sluice.batches', storedRecords),
  json: () => readOverHttp('application/json', jsonRecords),
  client: readWithClient,
  'jetstream-fill': fillJetStream,
  jetstream: readFromJetStream,
}

const before = process.cpuUsage()
const startedMs = performance.now()
await WAYS[shape.by]()
const seconds = (performance.now() - startedMs) / 1000
const { user, system } = process.cpuUsage(before)
const result: PullResult = { recordsPerSecond: shape.records / seconds, busy: (user + system) / 1e6 / seconds }
finish(result)
