// What the log workloads measure, in a process of its own, so that it can be given a core of its own and be killed. Takes its job as JSON in
// the first argument and prints its result as a line of JSON. The log is opened as a node opens it, with a node's defaults.

import { execFileSync } from 'node:child_process'
import { closeSync, fdatasyncSync, openSync, readFileSync, rmSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay, setImmediate as nextTurn } from 'node:timers/promises'
import { systemClock } from '../../src/base/clock.js'
import { silentLogger } from '../../src/base/logger.js'
import { loadConfig } from '../../src/config/load.js'
import type { Stream } from '../../src/log/types.js'
import { type NodeStorage, openStorage } from '../../src/node-storage.js'
import { attributesOf, type Offset, type PartitionId, type RecordInput } from '../../src/record/record.js'
import { BATCH_HEADER_BYTES, recordCountOf } from '../../src/record/record-batch.js'
import { rssAnonOf } from '../../test/helpers/process-usage.js'
import { readings } from '../readings.js'

const STREAM = 'bench'
const P0 = 0 as PartitionId
const FETCH_BYTES = 1024 * 1024

export interface LogJob {
  readonly data: string
  /** Lines of the stream's configuration. */
  readonly stream?: string
  readonly job:
    | { readonly name: 'bare'; readonly batchBytes: number; readonly seconds: number }
    | { readonly name: 'batches'; readonly batchBytes: number; readonly seconds: number }
    | { readonly name: 'append'; readonly records: number; readonly payloadBytes: number; readonly stay: boolean }
    | { readonly name: 'read' }
    | { readonly name: 'open' }
    | { readonly name: 'grow'; readonly bytes: number }
    | { readonly name: 'amplify'; readonly partitions: number; readonly bytes: number }
    | { readonly name: 'pace'; readonly perSecond: number; readonly seconds: number }
}

type JobOf<N extends LogJob['job']['name']> = LogJob['job'] & { readonly name: N }

async function open({ data, stream = '' }: LogJob): Promise<{ storage: NodeStorage; log: Stream }> {
  const file = `${data}.toml`
  writeFileSync(file, `[[stream]]\nname = "${STREAM}"\ntopics = ["#"]\n${stream}\n`)
  const { config, problems } = loadConfig({ file, environment: {}, dataDir: data })
  rmSync(file)
  if (config === null) throw new Error(JSON.stringify(problems))
  const onFatal = (error: Error): never => {
    throw error
  }
  const storage = await openStorage(config, { logger: silentLogger, clock: systemClock, onFatal })
  return { storage, log: storage.log.stream(STREAM) }
}

function recordOf(payload: Buffer, mqttTopic = 'plant/line-1/temperature'): RecordInput {
  return {
    timestampMs: Date.now(),
    key: Buffer.from(mqttTopic),
    value: payload,
    valueStart: 0,
    valueEnd: payload.length,
    headers: [],
    attributes: attributesOf(1, false),
  }
}

/** Nothing but write and fdatasync, of the bytes that a batch takes. */
function bare({ batchBytes, seconds }: JobOf<'bare'>, path: string): unknown {
  const file = openSync(path, 'w')
  const batch = Buffer.alloc(batchBytes, 0x2e)
  const startedAt = performance.now()
  let batches = 0
  while (performance.now() - startedAt < seconds * 1000) {
    writeSync(file, batch)
    fdatasyncSync(file)
    batches += 1
  }
  const elapsed = (performance.now() - startedAt) / 1000
  closeSync(file)
  rmSync(path)
  return { bytesPerSecond: (batches * batchBytes) / elapsed, batchesPerSecond: batches / elapsed }
}

/** Commits of one batch each: the next is gathered while one is written, as in a node. */
async function batches({ batchBytes, seconds }: JobOf<'batches'>, log: Stream): Promise<unknown> {
  const record = recordOf(Buffer.alloc(100, 0x2e))
  const before = log.stats()
  const startedAt = performance.now()
  let previous = Promise.resolve()
  // Each takes some 132 bytes.
  const records = Math.floor((batchBytes - BATCH_HEADER_BYTES) / 132)
  while (performance.now() - startedAt < seconds * 1000) {
    // The commit before has begun: what is appended now goes into the next.
    await nextTurn()
    let commit = log.append(P0, record)
    for (let left = records; left > 1; left--) commit = log.append(P0, record)
    await previous
    previous = commit.durable()
  }
  await previous
  const elapsed = (performance.now() - startedAt) / 1000
  const after = log.stats()
  const stored = after.bytes - before.bytes
  const commits = after.commits - before.commits
  return { bytesPerSecond: stored / elapsed, batchesPerSecond: commits / elapsed, batchBytes: stored / commits }
}

/** As fast as it takes them; the rate counts until the last is durable. */
async function append({ records, payloadBytes, stay }: JobOf<'append'>, log: Stream): Promise<unknown> {
  const record = recordOf(Buffer.alloc(payloadBytes, 0x2e))
  const startedAt = performance.now()
  for (let left = records; left > 1; left--) {
    log.append(P0, record)
    if (!log.hasRoom) await log.whenRoom()
  }
  await log.append(P0, record).durable()
  const elapsed = (performance.now() - startedAt) / 1000
  const { commits, bytes, segments } = log.stats()
  const result = { recordsPerSecond: records / elapsed, bytesPerCommit: bytes / commits, bytes, segments }
  if (stay) {
    say(result)
    await new Promise(() => setInterval(() => {}, 1000))
  }
  return result
}

async function read(log: Stream): Promise<unknown> {
  const end = log.highWatermark(P0)
  const startedAt = performance.now()
  let bytes = 0
  let records = 0
  for (let next = log.logStartOffset(P0); next < end; ) {
    const { batches: fetched, nextOffset } = await log.fetch(P0, next, { maxBytes: FETCH_BYTES })
    for (const batch of fetched) {
      bytes += batch.length
      records += recordCountOf(batch)
    }
    next = nextOffset
  }
  const elapsed = (performance.now() - startedAt) / 1000
  return { records, bytes, recordsPerSecond: records / elapsed, bytesPerSecond: bytes / elapsed }
}

/** Writes until so much is stored. @returns the peak of the anonymous memory in each eighth of it. */
async function grow({ bytes }: JobOf<'grow'>, log: Stream): Promise<unknown> {
  const record = recordOf(Buffer.alloc(1000, 0x2e))
  const peaks = new Array<number>(8).fill(0)
  let stored = 0
  for (let appended = 0; stored < bytes; appended++) {
    log.append(P0, record)
    if (appended % 1000 === 0) {
      stored = log.stats().bytes
      const eighth = Math.min(7, Math.floor((stored / bytes) * 8))
      peaks[eighth] = Math.max(peaks[eighth], rssAnonOf())
    }
    if (!log.hasRoom) await log.whenRoom()
  }
  await log.append(P0, record).durable()
  return { stored, peaks }
}

/** Values of 32 KB with retention at work and a reader that jumps about: what LevelDB writes for each byte it is given. */
async function amplify({ partitions, bytes }: JobOf<'amplify'>, log: Stream, data: string): Promise<unknown> {
  const record = recordOf(Buffer.alloc(32 * 1024 - 100, 0x2e))
  const before = writtenBytes()
  let stored = 0
  let writing = true
  const reading = (async () => {
    for (let turn = 0; writing; turn++) {
      await nextTurn()
      const partition = (turn % partitions) as PartitionId
      const [start, end] = [log.logStartOffset(partition), log.highWatermark(partition)]
      const from = (start + ((turn * 7919) % Math.max(1, end - start))) as Offset
      // Retention may take it away in between.
      await log.fetch(partition, from, { maxBytes: 256 * 1024 }).catch(() => {})
    }
  })()
  for (let turn = 0; stored < bytes; turn++) {
    const pending = log.stats().pendingBytes
    log.append((turn % partitions) as PartitionId, record)
    stored += log.stats().pendingBytes - pending
    if (!log.hasRoom) await log.whenRoom()
  }
  await log.append(P0, record).durable()
  writing = false
  await reading
  const logs = execFileSync('find', [join(data, 'streams', STREAM), '-name', 'LOG'], { encoding: 'utf8' }).trim()
  const compactions = logs.split('\n').filter((path) => /Compacting \d+@/.test(readFileSync(path, 'utf8'))).length
  return { stored, compactions, written: () => writtenBytes() - before }
}

/** Real readings at a steady rate, a message at a time. */
async function pace({ perSecond, seconds }: JobOf<'pace'>, log: Stream): Promise<unknown> {
  const source = readings()
  const startedAt = performance.now()
  let sent = 0
  let payloadBytes = 0
  let last = Promise.resolve()
  while (sent < perSecond * seconds) {
    const due = Math.min(perSecond * seconds, Math.floor(((performance.now() - startedAt) / 1000) * perSecond))
    for (; sent < due; sent++) {
      const { mqttTopic, payload } = source.next().value
      const bytes = Buffer.from(payload)
      payloadBytes += bytes.length
      const commit = log.append(P0, recordOf(bytes, mqttTopic))
      if (sent === due - 1) last = commit.durable()
    }
    await delay(1)
  }
  await last
  const { bytes, commits } = log.stats()
  return { messages: sent, payloadBytes, storedBytes: bytes, commits }
}

/** Bytes this process has handed to write calls: logs and tables, without what the file system adds. */
function writtenBytes(): number {
  return Number(/^wchar: (\d+)$/m.exec(readFileSync('/proc/self/io', 'utf8'))?.[1])
}

function say(result: unknown): void {
  writeSync(1, `${JSON.stringify(result)}\n`)
}

async function run(request: LogJob): Promise<void> {
  const { job, data } = request
  if (job.name === 'bare') return say(bare(job, data))
  const startedAt = performance.now()
  const { storage, log } = await open(request)
  const openMs = performance.now() - startedAt
  if (job.name === 'open') {
    const records = log.highWatermark(P0) - log.logStartOffset(P0)
    say({ openMs, records, bytes: log.stats().bytes, anonymousBytes: rssAnonOf() })
  } else if (job.name === 'batches') say(await batches(job, log))
  else if (job.name === 'append') say(await append(job, log))
  else if (job.name === 'read') say(await read(log))
  else if (job.name === 'grow') say(await grow(job, log))
  else if (job.name === 'amplify') {
    const { written, ...rest } = (await amplify(job, log, data)) as { written: () => number }
    await storage.close()
    return say({ ...rest, written: written() })
  } else if (job.name === 'pace') {
    say('open')
    // Told to begin once the disk has been looked at.
    await new Promise((resolve) => process.stdin.once('data', resolve))
    const result = await pace(job, log)
    await storage.close()
    return say(result)
  }
  await storage.close()
}

await run(JSON.parse(process.argv[2]) as LogJob)
process.exit(0)
