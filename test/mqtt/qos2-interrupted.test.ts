// QoS 2 in both directions, broken off at each step of its handshake by SIGKILL of the node or by the client's own takeover. The client does what
// MQTT 3.1.1 section 4.3.3 asks of it: it sends again what was not answered, and tells a resend by its packet identifier.
//
// Steps that lie between two packets are reached by holding the node: with a long linger no commit ends, and a stopped node reads nothing.

import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { NodeProcess } from '../helpers/node-process.js'
import { readAll } from '../helpers/open-log.js'
import { readStream } from '../helpers/stream-reader.js'
import { tempDir } from '../helpers/temp-dir.js'
import { pubcomp, publishPacket, pubrec, pubrel, RawClient, subscribePacket } from './raw-client.js'
import { startFront, type TestFront } from './start-front.js'

const PUBREC = 0x50
const PUBREL = 0x62
const PUBCOMP = 0x70
const HELD_MS = 60_000
const ID = 5

/** A node whose commits end at once, or not before the test has. */
function start(dataDir: string, holdCommits = false): Promise<NodeProcess> {
  const linger = holdCommits ? `linger_ms = ${HELD_MS}\n` : ''
  return NodeProcess.start({ dataDir, config: `[[stream]]\nname = "mqtt"\ntopics = ["#"]\n${linger}` })
}

/** What was sent so far has been taken, and nothing of it answered. */
async function takenAndUnanswered(client: RawClient): Promise<void> {
  assert.equal(await client.untilPong(), [])
}

async function expect(client: RawClient, first: number): Promise<void> {
  assert.is((await client.next())?.first, first)
}

/** The rest of the handshake, from PUBLISH or from PUBREL on, and a whole one with the same identifier. */
async function complete(client: RawClient, from: 'PUBLISH' | 'PUBREL', topic: string): Promise<void> {
  if (from === 'PUBLISH') {
    client.write(publishPacket(topic, 'once', { qos: 2, id: ID, dup: true }))
    await expect(client, PUBREC)
  }
  client.write(pubrel(ID))
  await expect(client, PUBCOMP)
  client.write(publishPacket(topic, 'next', { qos: 2, id: ID }))
  await expect(client, PUBREC)
  client.write(pubrel(ID))
  await expect(client, PUBCOMP)
}

interface Step {
  readonly name: string
  /** The node that takes the last packet of the step ends no commit. */
  readonly held: boolean
  readonly resendFrom: 'PUBLISH' | 'PUBREL'
  /** Brings the handshake to where a node that ends no commit takes over. */
  readonly before?: (client: RawClient, topic: string) => Promise<void>
  /** Brings the handshake there. */
  readonly reach: (client: RawClient, topic: string) => Promise<void>
}

const publish = (client: RawClient, topic: string): void =>
  client.write(publishPacket(topic, 'once', { qos: 2, id: ID }))
const upToPubrec = async (client: RawClient, topic: string): Promise<void> => {
  publish(client, topic)
  await expect(client, PUBREC)
}

const INBOUND: readonly Step[] = [
  {
    name: 'PUBLISH has been taken and its commit has not ended',
    held: true,
    resendFrom: 'PUBLISH',
    async reach(client, topic) {
      publish(client, topic)
      await takenAndUnanswered(client)
    },
  },
  { name: 'PUBREC has been sent', held: false, resendFrom: 'PUBREL', reach: upToPubrec },
  { name: 'PUBREC has been sent and the client has missed it', held: false, resendFrom: 'PUBLISH', reach: upToPubrec },
  {
    name: 'PUBREL has been taken and the end of the handshake is not durable',
    held: true,
    resendFrom: 'PUBREL',
    before: upToPubrec,
    async reach(client) {
      client.write(pubrel(ID))
      await takenAndUnanswered(client)
    },
  },
  {
    name: 'PUBCOMP has been sent and the client has missed it',
    held: false,
    resendFrom: 'PUBREL',
    async reach(client, topic) {
      await upToPubrec(client, topic)
      client.write(pubrel(ID))
      await expect(client, PUBCOMP)
    },
  },
]

/** A client of its own for each step; its topic is named like it. */
const clientOf = (step: Step): string => `client-${INBOUND.indexOf(step)}`

const connect = async (port: number, clientId: string): Promise<RawClient> =>
  (await RawClient.durable(port, clientId)).client

test('in: killed at every step of the handshake, the message is stored once and its identifier is free at the end', async () => {
  const dataDir = tempDir()
  const inAll = async (node: NodeProcess, work: (step: Step, client: RawClient, topic: string) => unknown) => {
    for (const step of INBOUND) {
      const topic = clientOf(step)
      await work(step, await connect(node.mqttPort, topic), topic)
    }
  }
  let node = await start(dataDir)
  await inAll(node, ({ held, before, reach }, client, topic) => (held ? before : reach)?.(client, topic))
  await node.kill('SIGKILL')
  node = await start(dataDir, true)
  await inAll(node, ({ held, reach }, client, topic) => (held ? reach(client, topic) : undefined))
  await node.kill('SIGKILL')
  node = await start(dataDir)
  await inAll(node, ({ resendFrom }, client, topic) => complete(client, resendFrom, topic))
  const stored = await readStream(node, 'mqtt')
  for (const step of INBOUND) {
    const values = stored.filter(({ mqttTopic }) => mqttTopic === clientOf(step)).map(({ payload }) => payload)
    assert.equal(values, ['once', 'next'], step.name)
  }
  await node.kill()
})

// ---- out

/** A subscriber that keeps the packet identifiers it has received and not seen released, as the standard asks of it. */
class Subscriber {
  readonly received: string[] = []
  private readonly unreleased = new Set<number>()
  private client!: RawClient

  /** @param name Its client identifier, and what it subscribes to. */
  constructor(readonly name: string) {}

  async connect(node: NodeProcess): Promise<void> {
    this.client = await connect(node.mqttPort, this.name)
  }

  async subscribe(): Promise<void> {
    this.client.write(subscribePacket(1, [this.name, 2]))
    await expect(this.client, 0x90)
  }

  /** Resolves with the identifier of the next message, whether it is new or comes again. */
  async takePublish(): Promise<number> {
    const { id, dup, payload, qos } = await this.client.nextPublish()
    assert.is(qos, 2)
    if (this.unreleased.has(id)) assert.ok(dup, `${payload} came again without DUP`)
    else this.received.push(payload)
    this.unreleased.add(id)
    return id
  }

  answer(packet: Buffer): void {
    this.client.write(packet)
  }

  async takePubrel(): Promise<number> {
    const packet = (await this.client.next())!
    assert.is(packet.first, PUBREL)
    const id = packet.body.readUInt16BE(0)
    this.unreleased.delete(id)
    return id
  }

  /** Whatever was sent so far has been read by the node. */
  async read(): Promise<void> {
    await takenAndUnanswered(this.client)
  }

  /** Takes and answers everything until a message with this payload has been completed. */
  async completeUntil(payload: string): Promise<void> {
    let last = -1
    for (;;) {
      const packet = (await this.client.next())!
      if (packet.first >> 4 === 3) {
        this.client.packets.unshift(packet)
        const id = await this.takePublish()
        if (this.received.at(-1) === payload) last = id
        this.client.write(pubrec(id))
        continue
      }
      this.client.packets.unshift(packet)
      const id = await this.takePubrel()
      this.client.write(pubcomp(id))
      if (id === last) return
    }
  }
}

interface Delivery {
  readonly name: string
  readonly reach: (subscriber: Subscriber, unread: (packet: Buffer) => void) => Promise<void>
}

const upToPubrel = async (subscriber: Subscriber): Promise<number> => {
  subscriber.answer(pubrec(await subscriber.takePublish()))
  return subscriber.takePubrel()
}

const OUTBOUND: readonly Delivery[] = [
  {
    name: 'PUBLISH has arrived',
    async reach(subscriber) {
      await subscriber.takePublish()
    },
  },
  {
    name: 'PUBREC has been sent and not been read',
    async reach(subscriber, unread) {
      unread(pubrec(await subscriber.takePublish()))
    },
  },
  {
    name: 'PUBREL has arrived',
    async reach(subscriber) {
      await upToPubrel(subscriber)
    },
  },
  {
    name: 'PUBCOMP has been sent and not been read',
    async reach(subscriber, unread) {
      unread(pubcomp(await upToPubrel(subscriber)))
    },
  },
  {
    name: 'PUBCOMP has been read',
    async reach(subscriber) {
      subscriber.answer(pubcomp(await upToPubrel(subscriber)))
      await subscriber.read()
    },
  },
]

test('out: killed at every step of the handshake, a subscriber has the message once', async () => {
  const dataDir = tempDir()
  let node = await start(dataDir)
  const publisher = async (): Promise<(topic: string, payload: string) => Promise<void>> => {
    const client = await RawClient.connected(node.mqttPort, 'publisher')
    return async (topic, payload) => {
      client.write(publishPacket(topic, payload, { qos: 2, id: 1 }))
      await expect(client, PUBREC)
      client.write(pubrel(1))
      await expect(client, PUBCOMP)
    }
  }
  const publishBefore = await publisher()
  const unread: (() => void)[] = []
  const subscribers: [string, Subscriber][] = []
  for (const [i, { name, reach }] of OUTBOUND.entries()) {
    const subscriber = new Subscriber(`subscriber-${i}`)
    subscribers.push([name, subscriber])
    await subscriber.connect(node)
    await subscriber.subscribe()
    await publishBefore(subscriber.name, 'once')
    await reach(subscriber, (packet) => unread.push(() => subscriber.answer(packet)))
  }
  process.kill(node.pid, 'SIGSTOP')
  for (const send of unread) send()
  await node.kill('SIGKILL')
  node = await start(dataDir)
  const publishAfter = await publisher()
  for (const [name, subscriber] of subscribers) {
    await subscriber.connect(node)
    await publishAfter(subscriber.name, 'last')
    await subscriber.completeUntil('last')
    assert.equal(subscriber.received, ['once', 'last'], name)
  }
  await node.kill()
})

// ---- takeover

for (const step of INBOUND) {
  const { name, held, resendFrom, before, reach } = step
  test(`in: taken over when ${name}, the message is stored once and its identifier is free at the end`, async () => {
    const directory = tempDir()
    const topic = clientOf(step)
    const startHere = (holdCommits: boolean): Promise<TestFront> =>
      startFront({ directory, streams: [{ name: 'mqtt', topics: ['#'], lingerMs: holdCommits ? HELD_MS : 0 }] })
    let server = await startHere(held && before === undefined)
    if (before !== undefined) {
      await before(await connect(server.port, topic), topic)
      await server.stop()
      server = await startHere(held)
    }
    const older = await connect(server.port, topic)
    await reach(older, topic)
    const newer = await connect(server.port, topic)
    await older.whenClosed()
    if (held) {
      // What is sent again waits for the same commit.
      newer.write(resendFrom === 'PUBLISH' ? publishPacket(topic, 'once', { qos: 2, id: ID, dup: true }) : pubrel(ID))
      await takenAndUnanswered(newer)
      // Which ends with the node.
      await server.stop()
      server = await startHere(false)
      await complete(await connect(server.port, topic), resendFrom, topic)
    } else await complete(newer, resendFrom, topic)
    const records = await readAll(server.testLog.log, 'mqtt')
    assert.equal(
      records.map(({ value }) => value?.toString()),
      ['once', 'next'],
    )
    await server.stop()
  })
}

test.run()
