// Commits offsets over HTTP at a fixed rate, whatever the node does (open loop): how long after it ought to have been sent is each commit
// acknowledged. Takes its shape as JSON in the first argument.

import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { fail, finish, wait } from './load-connection.js'
import { paced } from './pacer.js'
import { quantile } from './statistics.js'

export interface CommitShape {
  readonly port: number
  readonly stream: string
  /** Each commits over a connection of its own. */
  readonly groups: number
  readonly commitsPerSecond: number
  readonly warmUpMs: number
  readonly measureMs: number
}

export interface CommitResult {
  readonly p50Ms: number
  readonly p99Ms: number
  readonly maxMs: number
}

const ARRIVAL_MS = 10_000
/** Ends the answer `{}`; nothing else in an answer that is good holds it. */
const OBJECT_END = 0x7d

const shape = JSON.parse(process.argv[2]) as CommitShape
let latencies: number[] = []

class Committer {
  private readonly due: number[] = []
  private answered = 0

  private constructor(
    private readonly socket: Socket,
    private readonly group: string,
  ) {
    socket.on('error', (error) => fail(error.message))
    socket.on('data', (bytes) => this.take(bytes))
  }

  static async open(group: string): Promise<Committer> {
    const socket = connect({ port: shape.port, host: '127.0.0.1', noDelay: true })
    await once(socket, 'connect')
    return new Committer(socket, group)
  }

  get waiting(): number {
    return this.due.length - this.answered
  }

  commit(i: number, dueMs: number): void {
    const body = `{"offsets":[{"stream":"${shape.stream}","partition":0,"offset":0,"metadata":"${i}"}]}`
    const head = `POST /v1/groups/${this.group}/offsets HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n`
    this.due.push(dueMs)
    this.socket.write(head + body)
  }

  private take(bytes: Buffer): void {
    const nowMs = performance.now()
    const text = bytes.toString('latin1')
    if (/HTTP\/1\.1 [345]/.test(text)) fail(text)
    for (const byte of bytes) if (byte === OBJECT_END) latencies.push(nowMs - this.due[this.answered++])
  }
}

const committers: Committer[] = []
for (let i = 0; i < shape.groups; i++) committers.push(await Committer.open(`commit-${i}`))

const commitFor = (milliseconds: number): Promise<void> =>
  paced((milliseconds / 1000) * shape.commitsPerSecond, shape.commitsPerSecond, (i, dueMs) =>
    committers[i % committers.length].commit(i, dueMs),
  )

async function allAnswered(): Promise<void> {
  const givenUpMs = performance.now() + ARRIVAL_MS
  while (committers.some(({ waiting }) => waiting > 0)) {
    if (performance.now() > givenUpMs) fail('commits are without an answer')
    await wait(10)
  }
}

await commitFor(shape.warmUpMs)
await allAnswered()
latencies = []
await commitFor(shape.measureMs)
await allAnswered()
const result: CommitResult = {
  p50Ms: quantile(latencies, 0.5),
  p99Ms: quantile(latencies, 0.99),
  maxMs: quantile(latencies, 1),
}
finish(result)
