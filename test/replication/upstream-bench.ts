// A real log, its cursors and ledger in a folder, records to put into it, and upstreams that forward it, for tests of replication.

import { join } from 'node:path'
import { systemClock } from '../../src/base/clock.js'
import { Logger } from '../../src/base/logger.js'
import type { LogOptions } from '../../src/log/log-options.js'
import type { PartitionId } from '../../src/record/record.js'
import type { CursorsPort } from '../../src/replication/sender.js'
import type { UpstreamOptions, UpstreamStatus } from '../../src/replication/upstream-options.js'
import { Upstreams } from '../../src/replication/upstreams.js'
import { MiniBroker } from '../helpers/mini-broker.js'
import { openLog, recordOf, type TestLog, type TestStream } from '../helpers/open-log.js'
import { tempDir } from '../helpers/temp-dir.js'

export function upstreamTo(port: number, more: Partial<UpstreamOptions> = {}): UpstreamOptions {
  return {
    name: 'cloud',
    type: 'mqtt',
    url: `mqtt://127.0.0.1:${port}`,
    streams: ['telemetry'],
    topic: '{topic}',
    maxInFlight: 100,
    clientId: 'sluice-gw-17-cloud',
    keepaliveSeconds: 60,
    ackTimeoutMs: 30_000,
    reconnectMinMs: 5,
    reconnectMaxMs: 50,
    ...more,
  }
}

export class UpstreamBench {
  readonly logLines: string[] = []
  test!: TestLog
  upstreams: Upstreams | null = null
  /** Asked before each write of a cursor: what it waits for. */
  beforeCursor: () => Promise<void> = async () => {}
  private written = 0

  private constructor(
    private readonly directory: string,
    private readonly streams: readonly TestStream[],
    private readonly logOptions: Partial<LogOptions> & { destinations?: readonly string[] },
  ) {}

  static async open(
    streams: readonly TestStream[] = [{ name: 'telemetry' }],
    logOptions: Partial<LogOptions> & { destinations?: readonly string[] } = { destinations: ['cloud'] },
  ): Promise<UpstreamBench> {
    const bench = new UpstreamBench(tempDir(), streams, logOptions)
    await bench.reopen()
    return bench
  }

  /** Closes what is open and opens it again, as a restart does. */
  async reopen(): Promise<void> {
    await this.close()
    this.test = await openLog(this.directory, this.streams, this.logOptions)
  }

  start(...upstreams: UpstreamOptions[]): Upstreams {
    this.upstreams = Upstreams.start({
      nodeId: 'gw-17',
      upstreams,
      catalog: this.test.log,
      mirrors: this.test.log.mirrors,
      groups: { groups: () => [], ofGroup: () => [] },
      epochDirectory: join(this.directory, 'origin-epochs'),
      cursors: this.cursors(),
      ledger: this.test.ledger,
      facts: this.test.facts,
      clock: systemClock,
      logger: new Logger('test', 'debug', (line) => this.logLines.push(line)),
      random: Math.random,
    })
    return this.upstreams
  }

  private cursors(): CursorsPort {
    const { cursors } = this.test
    return {
      get: (...place) => cursors.get(...place),
      acked: (...place) => cursors.acked(...place),
      note: (...place) => cursors.note(...place),
      set: async (...place) => {
        await this.beforeCursor()
        await cursors.set(...place)
      },
    }
  }

  status(name = 'cloud'): UpstreamStatus {
    return this.upstreams!.statusOf(name)
  }

  /** Appends records `<stream>/<partition> <n>` with n counting from the first one on; resolves once they are durable. */
  async write(count: number, stream = 'telemetry', valueBytes = 0): Promise<void> {
    const target = this.test.log.stream(stream)
    for (let i = 0; i < count; i++) {
      const n = this.written++
      const partition = (n % target.partitions) as PartitionId
      const text = `${stream}/${partition} ${n}`.padEnd(valueBytes, '.')
      const commit = target.append(partition, recordOf(text, { key: Buffer.from(`sensors/${partition}`) }))
      if (i === count - 1) await commit.durable()
      else if (!target.hasRoom) await target.whenRoom()
    }
  }

  /** Resolves once everything stored has been acknowledged. */
  async drained(name = 'cloud'): Promise<void> {
    while (this.status(name).backlogRecords > 0) await new Promise((resolve) => setTimeout(resolve, 2))
  }

  async close(): Promise<void> {
    await this.upstreams?.stop()
    this.upstreams = null
    await this.test?.close()
  }
}

/** Streams in a folder of their own, and a broker to forward them to; both are gone afterwards. */
export async function withBroker(
  streams: readonly TestStream[],
  body: (bench: UpstreamBench, broker: MiniBroker) => Promise<void>,
): Promise<void> {
  const bench = await UpstreamBench.open(streams)
  const broker = await MiniBroker.start()
  try {
    await body(bench, broker)
  } finally {
    await bench.close()
    await broker.stop()
  }
}

/**
 * Checks what arrived of records 0 … count-1, written by `write` to one stream: each at least once and, per partition, in order, where a
 * repetition goes back by `maxRepeated` records of its partition at most.
 * @returns how many arrived more than once, in all.
 */
export function checkArrived(payloads: readonly string[], count: number, maxRepeated: number): number {
  const seen = new Set<number>()
  const highest = new Map<string, { n: number; index: number }>()
  const indexOf = new Map<string, number>()
  for (const payload of payloads) {
    const [partition, text] = payload.split(' ')
    const n = Number.parseInt(text, 10)
    if (!seen.has(n)) {
      const last = highest.get(partition)
      if (last !== undefined && n < last.n) throw new Error(`${payload} came for the first time after ${last.n}`)
      const index = (last?.index ?? -1) + 1
      indexOf.set(`${partition} ${n}`, index)
      highest.set(partition, { n, index })
      seen.add(n)
    } else {
      const back = highest.get(partition)!.index - indexOf.get(`${partition} ${n}`)!
      if (back >= maxRepeated)
        throw new Error(`${payload} came again ${back} records later, the window is ${maxRepeated}`)
    }
  }
  for (let n = 0; n < count; n++) if (!seen.has(n)) throw new Error(`record ${n} of ${count} is lost`)
  return payloads.length - seen.size
}
