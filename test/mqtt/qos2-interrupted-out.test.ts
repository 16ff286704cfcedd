// QoS 2 to a subscriber, broken off at each step of its handshake by SIGKILL of the node. The subscriber does what MQTT 3.1.1 section 4.3.3 asks of
// it: it tells a resend by its packet identifier.

import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { tempDir } from '../helpers/temp-dir.js'
import { expect, PUBCOMP, PUBREC, startNode } from './qos2-interrupted.js'
import { Qos2Subscriber } from './qos2-subscriber.js'
import { pubcomp, publishPacket, pubrec, pubrel, RawClient } from './raw-client.js'

interface Delivery {
  readonly name: string
  readonly reach: (subscriber: Qos2Subscriber, unread: (packet: Buffer) => void) => Promise<void>
}

const upToPubrel = async (subscriber: Qos2Subscriber): Promise<number> => {
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
  let node = await startNode(dataDir)
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
  const subscribers: [string, Qos2Subscriber][] = []
  for (const [i, { name, reach }] of OUTBOUND.entries()) {
    const subscriber = new Qos2Subscriber(`subscriber-${i}`)
    subscribers.push([name, subscriber])
    await subscriber.connect(node)
    await subscriber.subscribe()
    await publishBefore(subscriber.name, 'once')
    await reach(subscriber, (packet) => unread.push(() => subscriber.answer(packet)))
  }
  process.kill(node.pid, 'SIGSTOP')
  for (const send of unread) send()
  await node.kill('SIGKILL')
  node = await startNode(dataDir)
  const publishAfter = await publisher()
  for (const [name, subscriber] of subscribers) {
    await subscriber.connect(node)
    await publishAfter(subscriber.name, 'last')
    await subscriber.completeUntil('last')
    assert.equal(subscriber.received, ['once', 'last'], name)
  }
  await node.kill()
})

test.run()
