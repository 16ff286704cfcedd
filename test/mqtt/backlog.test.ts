// What a durable session has missed costs no memory, and comes in order and before what is new, though the node is killed while it is
// delivered. SLUICE_TEST_BACKLOG=1000000 makes it as long as that, and prints what it took.

import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { MemoryWatch } from '../helpers/memory-watch.js'
import { NodeProcess } from '../helpers/node-process.js'
import { puback, pubcomp, publishOf, publishPacket, pubrec, pubrel, RawClient, subscribePacket } from './raw-client.js'

const BACKLOG = Number(process.env['SLUICE_TEST_BACKLOG'] ?? 20_000)
const NEW = 500
const CHUNK = 1000
/**
 * Of memory that no file backs, over what the node has taken before anybody was away. V8's heap grows with any work, whatever the backlog, and a
 * long one fills segments. It levels off: 41 MB for 300,000 messages, 89 for a million, 72 for three million.
 */
const MAX_GROWTH_MB = BACKLOG > 100_000 ? 110 : 80

/** After a kill: at QoS 2 what was in flight; at QoS 1 also what was acknowledged since the session was last written down. */
const MAX_RESENT = { 1: 4000, 2: 100 }

const say = (line: string): void => {
  if (process.env['SLUICE_TEST_BACKLOG'] !== undefined) process.stdout.write(`${line}\n`)
}

/** Publishes the numbers [from, to), at QoS 2 so that none is stored twice, and waits until all are acknowledged. */
async function publishNumbers(port: number, from: number, to: number): Promise<void> {
  const publisher = await RawClient.connected(port, 'publisher')
  for (let start = from; start < to; start += CHUNK) {
    const ids = Array.from({ length: Math.min(CHUNK, to - start) }, (_, i) => i + 1)
    publisher.write(...ids.map((id) => publishPacket(`sensors/${id % 7}`, String(start + id - 1), { qos: 2, id })))
    for (const _ of ids) assert.is((await publisher.next())?.first, 0x50)
    publisher.write(...ids.map(pubrel))
    for (const _ of ids) assert.is((await publisher.next())?.first, 0x70)
  }
  publisher.socket.destroy()
}

/** What one subscriber has received; a resend is told by its identifier, or, at QoS 1 and after a kill, by its number. */
class Receiver {
  next = 0
  resent = 0
  private readonly unreleased = new Set<number>()

  constructor(private readonly qos: 1 | 2) {}

  /** Takes and answers until `count` numbers are there. */
  async takeUntil(client: RawClient, count: number): Promise<void> {
    while (this.next < count) {
      const raw = await client.next()
      if (raw === null) throw new Error('the node has closed the connection')
      if (raw.first >> 4 === 6) {
        const id = raw.body.readUInt16BE(0)
        this.unreleased.delete(id)
        client.write(pubcomp(id))
      } else this.takeMessage(client, publishOf(raw))
    }
  }

  private takeMessage(client: RawClient, { id, qos, payload }: ReturnType<typeof publishOf>): void {
    assert.is(qos, this.qos)
    const known = this.unreleased.has(id)
    const number = Number(payload)
    if (known || (qos === 1 && number < this.next)) this.resent += 1
    else {
      assert.is(number, this.next, 'every number once and in order')
      this.next += 1
    }
    if (qos === 2) this.unreleased.add(id)
    client.write(qos === 1 ? puback(id) : pubrec(id))
  }
}

for (const qos of [1, 2] as const) {
  test(`a backlog of ${BACKLOG} messages costs no memory and comes at QoS ${qos} in order, before what is new, over a SIGKILL`, async () => {
    const node = await NodeProcess.start()
    const connect = async (): Promise<RawClient> => {
      const { client, present } = await RawClient.durable(node.mqttPort, 'away')
      assert.is(present, true)
      return client
    }
    const { client: first } = await RawClient.durable(node.mqttPort, 'away')
    first.write(subscribePacket(1, ['sensors/#', qos]))
    assert.is((await first.next())?.first, 0x90)
    first.socket.destroy()
    const memory = new MemoryWatch(() => node.pid)
    const begunAt = performance.now()
    await publishNumbers(node.mqttPort, 0, Math.ceil(BACKLOG / 10))
    memory.look()
    const beforeMb = memory.peakMb
    await publishNumbers(node.mqttPort, Math.ceil(BACKLOG / 10), BACKLOG)
    const storedMb = memory.peakMb
    say(`stored in ${((performance.now() - begunAt) / 1000).toFixed(1)} s`)

    const receiver = new Receiver(qos)
    let client = await connect()
    const drainAt = performance.now()
    await receiver.takeUntil(client, Math.floor(BACKLOG / 2))
    await node.kill('SIGKILL')
    await node.startAgain()
    client = await connect()
    const fresh = publishNumbers(node.mqttPort, BACKLOG, BACKLOG + NEW)
    await receiver.takeUntil(client, BACKLOG)
    const rate = BACKLOG / ((performance.now() - drainAt) / 1000)
    await fresh
    await receiver.takeUntil(client, BACKLOG + NEW)
    memory.end()
    assert.ok(receiver.resent <= MAX_RESENT[qos], `${receiver.resent} sent again`)
    const mb = (value: number) => `${value.toFixed(0)} MB`
    say(
      `QoS ${qos}: ${Math.round(rate)} msg/s with the restart; RssAnon ${mb(beforeMb)} at a tenth, ${mb(storedMb)} stored, ${mb(memory.peakMb)} at most; ${receiver.resent} sent again`,
    )
    assert.ok(memory.peakMb - beforeMb <= MAX_GROWTH_MB, `${mb(beforeMb)} became ${mb(memory.peakMb)}`)
    await node.kill()
  })
}

test.run()
