import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { SluiceError } from '../../../src/base/errors.js'
import type { Offset } from '../../../src/record/record.js'
import { PacketSender } from '../../../src/replication/targets/packet-sender.js'
import { encodePublish, type Packets, PublishEncoder } from '../../../src/replication/targets/publish-encoder.js'
import { TopicMapper } from '../../../src/replication/targets/topic-template.js'
import { publishesIn } from './publishes-in.js'

const names = { stream: 'telemetry', node: 'gw-17' }

/** Gathers what a PacketSender writes. */
function sent(...slots: readonly Packets[]): { bytes: Buffer; writes: number } {
  const chunks: Buffer[] = []
  const write = (bytes: Buffer) => chunks.push(bytes) > 0
  const sender = new PacketSender({ write, cork: () => {}, uncork: () => {} } as never, 31)
  for (const [slot, packets] of slots.entries()) sender.send(packets, slot)
  sender.flush()
  return { bytes: Buffer.concat(chunks), writes: chunks.length }
}

test('a PUBLISH is written as MQTT 3.1.1 has it', () => {
  const { bytes } = sent(encodePublish(Buffer.from('a/b'), Buffer.from('21.5')))
  assert.equal([...bytes], [0x32, 11, 0, 3, 0x61, 0x2f, 0x62, 0xff, 0xff, 0x32, 0x31, 0x2e, 0x35])
  assert.is(encodePublish(Buffer.from('a'), Buffer.alloc(0), true).bytes[0], 0x33)
})

test('remaining lengths of one to four bytes, and payloads around the chunk sizes, come out whole and in order', () => {
  const sizes = [0, 1, 119, 120, 121, 8191, 8192, 16_376, 16_377, 32_767, 32_768, 40_000, 2_097_160, 5, 6, 7]
  const messages = [...sizes, ...sizes].map((size, i) => ({ topic: `t/${i}`, payload: Buffer.alloc(size, i) }))
  const encoder = new PublishEncoder()
  const slots: Packets[] = []
  for (const { topic, payload } of messages) {
    if (!encoder.fits(topic.length + payload.length)) slots.push(encoder.take())
    encoder.add(Buffer.from(topic), payload, 0, payload.length, false)
  }
  slots.push(encoder.take())
  assert.ok(slots.length < messages.length, 'some go together')
  const found = publishesIn(sent(...slots).bytes)
  assert.is(found.length, messages.length)
  for (const [i, { topic, payload }] of messages.entries()) {
    assert.is(found[i].topic, topic)
    assert.ok(found[i].payload.equals(payload), `payload ${i}`)
  }
  assert.is(new Set(found.map(({ packetId }) => packetId)).size, messages.length)
})

test('what follows each other in memory is written at once', () => {
  const encoder = new PublishEncoder()
  const slots = Array.from({ length: 50 }, (_, i) => {
    encoder.add(Buffer.from('a/b'), Buffer.from(`value ${i}`), 0, 7, false)
    return encoder.take()
  })
  const { bytes, writes } = sent(...slots)
  assert.is(writes, 1)
  assert.is(publishesIn(bytes).length, 50)
})

test('a slot is acknowledged once, when all its packets are, in whatever order', () => {
  const sender = new PacketSender({ write: () => true, cork: () => {}, uncork: () => {} } as never, 31)
  for (const count of [1, 2, 30, 31]) {
    const encoder = new PublishEncoder()
    for (let i = 0; i < count; i++) encoder.add(Buffer.from('a'), Buffer.alloc(1), 0, 1, false)
    const packets = encoder.take()
    for (const slot of [0, 5, 2112]) sender.send(packets, slot)
    const ids = packets.idsAt.map((at) => packets.bytes.readUInt16BE(at)).reverse()
    const acks = ids.flatMap((id) => [sender.acked(id), sender.acked(id)])
    assert.equal(
      acks.filter((slot) => slot !== null),
      [2112],
    )
    assert.is(acks.indexOf(2112), 2 * (count - 1))
    assert.is(sender.acked(ids[0]), null, 'it is free')
  }
  assert.is(sender.acked(17), null)
  assert.throws(() => sender.send(encodePublish(Buffer.from('a'), Buffer.alloc(1)), 2113 + 1), /window/)
})

const recordOf = (key: Buffer | null) => ({
  ...{ offset: 7 as Offset, timestampMs: 1_700_000_000_000, bytes: key ?? Buffer.alloc(0) },
  ...{ keyStart: key === null ? -1 : 0, keyEnd: key?.length ?? -1 },
})

function mapped(template: string, key: string | Buffer | null): string | null {
  const mapper = new TopicMapper(template, names)
  const problem = mapper.map(recordOf(typeof key === 'string' ? Buffer.from(key) : key))
  if (problem !== null) return `✘ ${problem}`
  const target = Buffer.alloc(mapper.length + 2)
  assert.is(mapper.copy(target, 1), mapper.length)
  return target.toString('utf8', 1, 1 + mapper.length)
}

test('a topic template names the topic, the stream, the node, the offset and the time', () => {
  const template = 'plant7/{node}/{stream}/{topic}/in/{topic}'
  assert.is(mapped(template, 'sensors/1'), 'plant7/gw-17/telemetry/sensors/1/in/sensors/1')
  assert.is(mapped('{topic}/{offset}', 'sensors/1'), 'sensors/1/7')
  assert.is(mapped('x/{timestamp}/{topic:url}', 'a/+'), 'x/1700000000000/a%2F%2B')
})

test('a template that gives no topic name is refused', () => {
  for (const template of ['', '{topic}/#', '+/{topic}', 'a\0b'])
    assert.throws(
      () => new TopicMapper(template, names),
      (error: unknown) => error instanceof SluiceError && error.code === 'INVALID_CONFIG',
    )
})

test('a key that is no topic name would break the connection, and is found before', () => {
  for (const template of ['x/{topic}', '{topic}/{offset}']) {
    for (const good of ['sensors/1/temp', 'größe/°C']) assert.not.match(mapped(template, good) ?? '', '✘')
    for (const bad of ['', null, 'a/+', '#', 'a\0b', Buffer.from([0x61, 0xff])])
      assert.match(mapped(template, bad) ?? '', '✘', `${bad} in ${template}`)
  }
  for (const bad of ['', null, Buffer.from([0x61, 0xff])]) assert.match(mapped('{topic:url}', bad) ?? '', '✘')
  assert.is(mapped('fixed', null), 'fixed')
  assert.is(mapped('fixed/{offset}', '#'), 'fixed/7')
})

test('a mapped topic is as long as MQTT allows, and no longer', () => {
  assert.is(mapped('x/{topic}', 'x'.repeat(65_533))?.length, 65_535)
  assert.is(mapped('x/{topic}', 'x'.repeat(65_534)), '✘ would get a topic longer than 65535 bytes')
  const mapper = new TopicMapper('x/{topic}', names, { maxTopicLevels: 3 })
  assert.is(mapper.map(recordOf(Buffer.from('a/b'))), null)
  assert.match(mapper.map(recordOf(Buffer.from('a/b/c'))) ?? '', '4 levels')
})

test.run()
