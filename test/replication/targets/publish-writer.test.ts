import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { SluiceError } from '../../../src/base/errors.js'
import type { Offset } from '../../../src/record/record.js'
import { PublishWriter } from '../../../src/replication/targets/publish-writer.js'
import {
  compileTopicTemplate,
  mappedTopicBytes,
  mappedTopicProblem,
  TopicMapper,
} from '../../../src/replication/targets/topic-template.js'

const names = { stream: 'telemetry', node: 'gw-17' }

function written(
  messages: readonly { topic: string; payload: Buffer; retain?: boolean }[],
  template = '{topic}',
): Buffer {
  const chunks: Buffer[] = []
  const writer = new PublishWriter((bytes) => chunks.push(bytes))
  const parts = compileTopicTemplate(template, names)
  messages.forEach(({ topic, payload, retain = false }, i) => {
    const bytes = Buffer.from(topic)
    const topicBytes = mappedTopicBytes(parts, bytes.length)
    writer.publish({ parts, topic: bytes, topicBytes, payload, retain }, i + 1)
  })
  writer.flush()
  return Buffer.concat(chunks)
}

test('a PUBLISH is written as MQTT 3.1.1 has it', () => {
  const bytes = written([{ topic: 'a/b', payload: Buffer.from('21.5') }])
  assert.equal([...bytes], [0x32, 11, 0, 3, 0x61, 0x2f, 0x62, 0, 1, 0x32, 0x31, 0x2e, 0x35])
  assert.is(written([{ topic: 'a', payload: Buffer.alloc(0), retain: true }])[0], 0x33)
})

test('remaining lengths of one to four bytes, and payloads around the chunk sizes, come out whole and in order', () => {
  const sizes = [0, 1, 119, 120, 121, 8191, 8192, 16_376, 16_377, 32_767, 32_768, 40_000, 2_097_160, 5]
  const messages = sizes.map((size, i) => ({ topic: `t/${i}`, payload: Buffer.alloc(size, i) }))
  let rest = written([...messages, ...messages])
  for (const [i, { topic, payload }] of [...messages, ...messages].entries()) {
    let length = 0
    let at = 1
    for (let shift = 1; ; shift *= 128) {
      const byte = rest[at++]
      length += (byte & 0x7f) * shift
      if (byte < 0x80) break
    }
    const topicEnd = at + 2 + rest.readUInt16BE(at)
    assert.is(rest.toString('utf8', at + 2, topicEnd), topic)
    assert.is(rest.readUInt16BE(topicEnd), i + 1)
    assert.ok(rest.subarray(topicEnd + 2, at + length).equals(payload), `payload ${i}`)
    rest = rest.subarray(at + length)
  }
  assert.is(rest.length, 0)
})

test('a topic template names the topic, the stream and the node', () => {
  const bytes = written([{ topic: 'sensors/1', payload: Buffer.alloc(0) }], 'plant7/{node}/{stream}/{topic}/in/{topic}')
  assert.match(bytes.toString('latin1'), 'plant7/gw-17/telemetry/sensors/1/in/sensors/1')
})

test('a template that gives no topic name is refused', () => {
  for (const template of ['', '{topic}/#', '+/{topic}', 'a\0b'])
    assert.throws(
      () => compileTopicTemplate(template, names),
      (error: unknown) => error instanceof SluiceError && error.code === 'INVALID_CONFIG',
    )
})

test('a key that is no topic name would break the connection, and is found before', () => {
  const parts = compileTopicTemplate('x/{topic}', names)
  const problem = (key: string | Buffer | null): string | null =>
    mappedTopicProblem(parts, typeof key === 'string' ? Buffer.from(key) : key)
  assert.is(problem('sensors/1/temp'), null)
  assert.is(problem('größe/°C'), null)
  for (const bad of ['', null, 'a/+', '#', 'a\0b', Buffer.from([0x61, 0xff])])
    assert.type(problem(bad), 'string', `${bad}`)
  assert.is(mappedTopicProblem(compileTopicTemplate('fixed', names), null), null)
})

test('a mapped topic is as long as MQTT allows, and no longer', () => {
  const mapper = new TopicMapper('x/{topic}', names)
  const mapped = (length: number) => {
    const key = Buffer.alloc(length, 'x')
    const offset = 0 as Offset
    return mapper.map({ offset, timestampMs: 0, key, value: null, headers: [], attributes: 0 })
  }
  assert.is((mapped(65_533) as { topicBytes: number }).topicBytes, 65_535)
  assert.is(mapped(65_534), 'would get a topic longer than 65535 bytes')
})

test.run()
