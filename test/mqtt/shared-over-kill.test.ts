// A shared subscription through the death of a member and of the node: no message is lost, and while nobody dies each goes to one member.

import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { NodeProcess } from '../helpers/node-process.js'
import { puback, publishOf, publishPacket, RawClient, subscribePacket } from './raw-client.js'

const MESSAGES = 300
const FILTER = '$share/g/t'

async function publish(node: NodeProcess, from: number, to: number): Promise<void> {
  const publisher = await RawClient.connected(node.mqttPort, 'publisher')
  for (let number = from; number < to; number++)
    publisher.write(publishPacket('t', String(number), { qos: 1, id: number + 1 }))
  for (let number = from; number < to; number++) assert.is((await publisher.next())?.first, 0x40)
  publisher.socket.destroy()
}

/** Takes what comes, acknowledging it or not, and tells `seen` of each number, until the connection ends. */
async function take(client: RawClient, acknowledges: boolean, seen: (number: number) => void): Promise<void> {
  for (;;) {
    const raw = await client.next()
    if (raw === null) return
    if (raw.first >> 4 !== 3) continue
    const { id, payload } = publishOf(raw)
    if (acknowledges) client.write(puback(id))
    seen(Number(payload))
  }
}

/** Counts how often each number was seen, and resolves when all of [0, end) were. */
class Tally {
  readonly times = new Map<number, number>()
  private wake: () => void = () => {}

  readonly see = (number: number): void => {
    this.times.set(number, (this.times.get(number) ?? 0) + 1)
    this.wake()
  }

  async complete(end: number): Promise<void> {
    while (this.times.size < end) await new Promise<void>((resolve) => (this.wake = resolve))
  }
}

test('a shared subscription loses nothing when a member dies with unacknowledged messages and then the node', async () => {
  const node = await NodeProcess.start()
  const join = async (name: string): Promise<RawClient> => {
    const { client } = await RawClient.durable(node.mqttPort, name)
    client.write(subscribePacket(1, [FILTER, 1]))
    // Messages may come before it once the group is there.
    for (;;) {
      const answer = await client.next()
      if (answer?.first === 0x90) return client
      if (answer !== null) client.packets.push(answer)
    }
  }
  const tally = new Tally()
  const [a, b] = [await join('a'), await join('b')]
  void take(a, true, tally.see)
  void take(b, true, tally.see)
  await publish(node, 0, MESSAGES)
  await tally.complete(MESSAGES)
  assert.ok(
    [...tally.times.values()].every((times) => times === 1),
    'each went to one member',
  )

  // What this member takes and does not acknowledge is owed to the others.
  const c = await RawClient.connected(node.mqttPort, 'c')
  c.write(subscribePacket(1, [FILTER, 1]))
  const unacknowledged = new Tally()
  void take(c, false, unacknowledged.see)
  await publish(node, MESSAGES, 2 * MESSAGES)
  await unacknowledged.complete(1)
  c.socket.destroy()
  await publish(node, 2 * MESSAGES, 3 * MESSAGES)
  await node.kill('SIGKILL')
  await node.startAgain()
  for (const name of ['a', 'b']) void take((await RawClient.durable(node.mqttPort, name)).client, true, tally.see)
  await tally.complete(3 * MESSAGES)
  await node.kill()
})

test.run()
