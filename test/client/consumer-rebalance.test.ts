// A consumer and a node that is only a script: what is committed when a rebalance is heard of while the loop is in the middle of a batch.

import { EventEmitter, once } from 'node:events'
import { setImmediate as turn } from 'node:timers/promises'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { SluiceError } from '../../src/base/errors.js'
import { Consumer } from '../../src/client/consumer.js'
import type { ConsumerOptions } from '../../src/client/consumer-options.js'
import type { HttpTransport, TransportAnswer, TransportRequest } from '../../src/client/http-transport.js'
import { toOffset } from '../../src/record/record.js'
import { encodeRecordBatch } from '../../src/record/record-batch-builder.js'
import { recordOf } from '../helpers/open-log.js'

const test = suite('consumer in a rebalance')
const RECORDS = 10

/** Gives every member a batch of records 0 to 9 of one partition, once per generation, and tells the first of a rebalance when it sends a heartbeat. */
class ScriptedNode {
  generation = 0
  readonly commits: number[] = []
  private sent = 0
  private readonly events = new EventEmitter()

  /** And the consumer has heard it. */
  async hasToldOfRebalance(): Promise<void> {
    await once(this.events, 'told')
    await turn()
  }

  async json(path: string, { body, method }: TransportRequest = {}): Promise<unknown> {
    if (path.endsWith('/members')) {
      this.generation += 1
      const assignments = [{ stream: 's', partition: 0, position: 0 }]
      return { member_id: 'm', generation: this.generation, assignments }
    }
    if (path.endsWith('/heartbeat') && this.generation === 1) {
      this.events.emit('told')
      throw new SluiceError('REBALANCE_IN_PROGRESS', 'join again')
    }
    if (path.endsWith('/offsets')) {
      for (const { offset } of (body as { offsets: { offset: number }[] }).offsets) this.commits.push(offset)
    }
    return method === 'DELETE' ? {} : { generation: this.generation }
  }

  async send(_path: string, { signal }: TransportRequest): Promise<TransportAnswer> {
    if (this.sent === this.generation)
      await new Promise((_, reject) => signal?.addEventListener('abort', () => reject(new Error('closed'))))
    this.sent = this.generation
    const records = Array.from({ length: RECORDS }, (_, i) => recordOf(`${i}`))
    const body = encodeRecordBatch(toOffset(0), records)
    const part = { stream: 's', partition: 0, position: 0, bytes: body.length }
    return { headers: { 'x-sluice-partitions': JSON.stringify([part]), 'x-sluice-fetch-id': '1' }, body }
  }
}

function consumerOf(node: ScriptedNode, more: Partial<ConsumerOptions> = {}): Consumer {
  const options = { group: 'g', streams: ['s'], sessionTimeoutMs: 30, autoCommitIntervalMs: 60_000, ...more }
  return new Consumer(node as unknown as HttpTransport, options)
}

test('of a batch that a rebalance has cut short only what the loop was given is committed', async () => {
  const node = new ScriptedNode()
  const consumer = consumerOf(node)
  const seen: number[] = []
  for await (const { offset } of consumer) {
    seen.push(offset)
    if (seen.length === 3) await node.hasToldOfRebalance()
    if (node.generation === 2) break
  }
  await consumer.close()
  assert.equal(seen, [0, 1, 2, 0], 'the rest comes again, to whoever has the partition next')
  assert.equal(node.commits, [3])
})

test('a batch that the loop was told to stop with is not committed, one that it worked through is', async () => {
  for (const looks of [true, false]) {
    const node = new ScriptedNode()
    const consumer = consumerOf(node)
    for await (const batch of consumer.batches()) {
      if (node.generation === 2) break
      await node.hasToldOfRebalance()
      if (looks) assert.not(batch.isCurrent)
    }
    await consumer.close()
    assert.equal(node.commits, looks ? [] : [RECORDS])
  }
})

test('a batch that is read to its end is committed by whoever asks for more', async () => {
  const node = new ScriptedNode()
  node.generation = 1
  const consumer = consumerOf(node)
  const records = consumer[Symbol.asyncIterator]()
  const asked = Array.from({ length: RECORDS }, () => records.next())
  const offsets = (await Promise.all(asked)).map(({ value }) => value?.offset)
  assert.equal(
    offsets,
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
    'in the order of asking, though nobody waited for the one before',
  )
  const more = records.next()
  await consumer.commit()
  assert.equal(node.commits, [RECORDS])
  await consumer.close()
  assert.is((await more).done, true)
  assert.is((await records.next()).done, true)
})

test.run()
