// A client that is sent QoS 2 messages, for tests that break the handshake off.

import * as assert from 'uvu/assert'
import type { NodeProcess } from '../helpers/node-process.js'
import { connect, expect, PUBREL, takenAndUnanswered } from './qos2-interrupted.js'
import { pubcomp, pubrec, type RawClient, subscribePacket } from './raw-client.js'

/** Keeps the packet identifiers it has received and not seen released, as the standard asks of it. */
export class Qos2Subscriber {
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
