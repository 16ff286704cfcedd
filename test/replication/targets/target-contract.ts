// What every kind of upstream owes the sender (src/replication/targets/target.ts), as tests. A new target runs them with a far side of its
// own kind.

import type { Test } from 'uvu'
import * as assert from 'uvu/assert'
import { SluiceError } from '../../../src/base/errors.js'
import { attributesOf, type Offset, type PartitionId, type RecordInput } from '../../../src/record/record.js'
import { encodeRecordBatch } from '../../../src/record/record-batch-builder.js'
import type { Link, LinkEvents, OfferedLane, Shipment, Target } from '../../../src/replication/targets/target.js'
import { TcpProxy } from '../../helpers/tcp-proxy.js'

export interface FarSide {
  readonly port: number
  /** Payloads it has taken, in order. */
  received(): string[]
  holdAcks(): void
  releaseAcks(): void
  refuseLogins(): void
  /** Connections that were ended in the protocol's way. */
  goodbyes(): number
  /** Resolves once `condition` holds; asked whenever something has arrived or a connection has ended. */
  until(condition: () => boolean): Promise<void>
  stop(): Promise<void>
}

export interface ContractOptions<S extends Shipment> {
  readonly test: Test
  readonly name: string
  startFarSide(): Promise<FarSide>
  makeTarget(port: number): Target<S>
}

const SOURCE = { stream: 'telemetry', partition: 0 as PartitionId }

export function batchOf(baseOffset: number, payloads: readonly (string | Buffer)[], key = 'sensors/1/temp'): Buffer {
  const records = payloads.map((payload): RecordInput => {
    const value = Buffer.from(payload)
    return {
      timestampMs: 1_700_000_000_000,
      key: Buffer.from(key),
      value,
      valueStart: 0,
      valueEnd: value.length,
      headers: [],
      attributes: attributesOf(1, false),
    }
  })
  return encodeRecordBatch(baseOffset as Offset, records)
}

/** Everything one connection has told, and a way to wait for more of it. */
class Told implements LinkEvents {
  readonly events: string[] = []
  reason: SluiceError | null = null
  private wake = (): void => {}

  lanes = (): readonly OfferedLane[] => []
  onPositions = (): void => {}
  onUp = (): void => this.tell('up')
  onAck = (slot: number): void => this.tell(`ack ${slot}`)
  onRoom = (): void => this.tell('room')
  onDown = (reason: SluiceError): void => {
    this.reason = reason
    this.tell('down')
  }

  async until(...events: string[]): Promise<void> {
    while (!events.every((event) => this.events.includes(event)))
      await new Promise<void>((resolve) => {
        this.wake = resolve
      })
  }

  without(event: string): string[] {
    return this.events.filter((one) => one !== event)
  }

  private tell(event: string): void {
    this.events.push(event)
    this.wake()
  }
}

export function targetContract<S extends Shipment>({ test, name, startFarSide, makeTarget }: ContractOptions<S>): void {
  const contract = (behaviour: string, body: (proxy: TcpProxy, farSide: FarSide, target: Target<S>) => Promise<void>) =>
    test(`${name}: ${behaviour}`, async () => {
      const farSide = await startFarSide()
      const proxy = await TcpProxy.start(farSide.port)
      try {
        await body(proxy, farSide, makeTarget(proxy.port))
      } finally {
        await proxy.stop()
        await farSide.stop()
      }
    })
  const connect = (target: Target<S>): { told: Told; link: Link<S> } => {
    const told = new Told()
    const link = target.connect(told)
    assert.equal(told.events, [], 'nothing is told before connect has returned')
    return { told, link }
  }
  const pack = async (target: Target<S>, payloads: string[], from = 0): Promise<S[]> =>
    target.pack(SOURCE, [batchOf(0, payloads)], from as Offset)
  /** Several turns of the event loop, in which anything that is still to come of a closed connection would. */
  const settle = async (): Promise<void> => {
    for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve))
  }

  contract(
    'shipments follow each other without a gap, and leave out what lies below the start',
    async (_, __, target) => {
      const all = await pack(target, ['a', 'b', 'c', 'd'])
      assert.is(all[0].offset, 0)
      for (const [i, shipment] of all.entries()) assert.is(shipment.nextOffset, all[i + 1]?.offset ?? 4)
      assert.is(
        all.reduce((sum, shipment) => sum + shipment.records, 0),
        4,
      )
      assert.is((await pack(target, ['a', 'b', 'c', 'd'], 2))[0].offset, 2)
      assert.equal(await pack(target, ['a'], 1), [])
    },
  )

  contract('what is sent arrives in order, and each slot is acknowledged', async (_, farSide, target) => {
    const { told, link } = connect(target)
    await told.until('up')
    const payloads = Array.from({ length: 50 }, (_, i) => `value ${i}`)
    const shipments = await pack(target, payloads)
    for (const [slot, shipment] of shipments.entries()) link.send(shipment, slot)
    link.flush()
    await told.until(...shipments.map((_, slot) => `ack ${slot}`))
    assert.equal(farSide.received(), payloads)
    assert.is(told.without('room').length, 1 + shipments.length)
    link.reset(new SluiceError('NOT_REACHABLE', 'enough'))
    await told.until('down')
  })

  contract('nothing is acknowledged before the far side does', async (_, farSide, target) => {
    const { told, link } = connect(target)
    await told.until('up')
    farSide.holdAcks()
    link.send((await pack(target, ['a']))[0], 7)
    link.flush()
    await farSide.until(() => farSide.received().length === 1)
    await settle()
    assert.equal(told.without('room'), ['up'])
    farSide.releaseAcks()
    await told.until('ack 7')
    link.end()
    await told.until('down')
  })

  contract('a connection that is cut tells so once, and nothing after', async (proxy, farSide, target) => {
    const { told, link } = connect(target)
    await told.until('up')
    farSide.holdAcks()
    link.send((await pack(target, ['a']))[0], 0)
    link.flush()
    await farSide.until(() => farSide.received().length === 1)
    proxy.cutAll()
    await told.until('down')
    farSide.releaseAcks()
    link.reset(new SluiceError('NOT_REACHABLE', 'late'))
    link.end()
    await settle()
    assert.equal(told.without('room'), ['up', 'down'])
    assert.instance(told.reason, SluiceError)
    assert.is.not(told.reason?.message, 'late')
  })

  contract('a reset is reported with its reason', async (_, __, target) => {
    const { told, link } = connect(target)
    await told.until('up')
    const reason = new SluiceError('NOT_REACHABLE', 'no ack in time')
    link.reset(reason)
    await told.until('down')
    await settle()
    assert.equal(told.events, ['up', 'down'])
    assert.is(told.reason, reason)
  })

  contract('an orderly end says goodbye', async (proxy, farSide, target) => {
    const { told, link } = connect(target)
    await told.until('up')
    link.end()
    await told.until('down')
    await farSide.until(() => farSide.goodbyes() === 1)
    await proxy.until(() => proxy.open === 0)
  })

  contract('an orderly end comes to an end although the far side is silent', async (proxy, _, target) => {
    const { told, link } = connect(target)
    await told.until('up')
    proxy.blackHole(true)
    link.end()
    await told.until('down')
  })

  contract('a login that is refused, and a port where nobody listens, are reported', async (proxy, farSide, target) => {
    farSide.refuseLogins()
    const refused = connect(target)
    await refused.told.until('down')
    assert.equal(refused.told.events, ['down'])
    assert.ok(refused.told.reason !== null && refused.told.reason.message.length > 0)
    await proxy.stop()
    const absent = connect(target)
    await absent.told.until('down')
    assert.match(absent.told.reason?.message ?? '', /ECONNREFUSED/)
  })

  contract(
    'a link whose network takes nothing has no room, and tells when it has again',
    async (proxy, farSide, target) => {
      const { told, link } = connect(target)
      await told.until('up')
      proxy.blackHole(true)
      let sent = 0
      while (link.hasRoom) {
        assert.ok(sent < 100_000, 'comes to an end')
        const [shipment] = await target.pack(SOURCE, [batchOf(sent, ['x'.repeat(50_000)])], 0 as Offset)
        link.send(shipment, sent++)
        link.flush()
        // The kernel takes what its buffers hold.
        await new Promise((resolve) => setImmediate(resolve))
      }
      proxy.blackHole(false)
      await told.until('room', `ack ${sent - 1}`)
      assert.ok(link.hasRoom)
      assert.is(farSide.received().length, sent)
      link.end()
      await told.until('down')
    },
  )
}
