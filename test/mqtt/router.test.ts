import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { partitionOf } from '../../src/base/murmur2.js'
import { Router, type TopicEntry } from '../../src/mqtt/router.js'
import { fakeCatalog, fakeStream } from './fake-catalog.js'

const catalog = fakeCatalog(
  fakeStream('alarms', ['+/alarm/#'], 4),
  fakeStream('sensors', ['sensors/#'], 4),
  fakeStream('byclient', ['c/#'], 4),
  fakeStream('unrouted', []),
)
const routes = [
  { stream: 'alarms', topics: ['+/alarm/#'], key: 'topic' },
  { stream: 'sensors', topics: ['sensors/#'], key: 'level:2' },
  { stream: 'byclient', topics: ['c/#'], key: 'client' },
]

function resolve(router: Router, mqttTopic: string): TopicEntry {
  const bytes = Buffer.from(`..${mqttTopic}..`)
  const entry = router.resolve(bytes, 2, bytes.length - 2)
  if ('problem' in entry) throw new Error(entry.problem)
  return entry
}

test('the first stream whose filter matches takes the topic, and the rest goes to unrouted', () => {
  const router = new Router(catalog, routes, 64)
  assert.is(resolve(router, 'sensors/alarm/1').stream?.name, 'alarms')
  assert.is(resolve(router, 'sensors/1/temp').stream?.name, 'sensors')
  const other = resolve(router, 'other')
  assert.is(other.stream?.name, 'unrouted')
  assert.is(other.routed, false)
})

test('each stream is there once, also where unrouted is among the routes, and entries name its place', () => {
  for (const listed of [routes, [...routes, { stream: 'unrouted', topics: [], key: 'topic' }]]) {
    const router = new Router(catalog, listed, 64)
    assert.equal(
      router.streams.map(({ name }) => name),
      ['alarms', 'sensors', 'byclient', 'unrouted'],
    )
    for (const mqttTopic of ['x/alarm/1', 'sensors/1', 'c/1', 'other']) {
      const { stream, streamIndex } = resolve(router, mqttTopic)
      assert.is(router.streams[streamIndex], stream)
    }
  }
})

test('the key decides the partition by the hash of Kafka', () => {
  const router = new Router(catalog, routes, 64)
  assert.is(resolve(router, 'x/alarm/1').partition, partitionOf(Buffer.from('x/alarm/1'), 4))
  assert.is(resolve(router, 'sensors/dev7/temp').partition, partitionOf(Buffer.from('dev7'), 4))
  assert.is(resolve(router, 'sensors/dev7/hum').partition, resolve(router, 'sensors/dev7/temp').partition)
  assert.is(resolve(router, 'sensors').partition, partitionOf(Buffer.from('sensors'), 4))
  assert.is(resolve(router, 'c/1').keyedByClient, true)
  assert.is(resolve(router, 'other').keyedByClient, false)
})

test('a topic seen lately is answered from the cache, and one pushed out is answered right as well', () => {
  const router = new Router(catalog, routes, 64)
  assert.is(resolve(router, 'sensors/1/temp'), resolve(router, 'sensors/1/temp'))
  for (let i = 0; i < 5000; i++) {
    const entry = resolve(router, `sensors/${i}/temp`)
    assert.is(entry.mqttTopic, `sensors/${i}/temp`)
    assert.is(String(entry.bytes), `sensors/${i}/temp`)
  }
  assert.is(resolve(router, 'sensors/1/temp').partition, partitionOf(Buffer.from('1'), 4))
})

test('an entry does not change when the buffer it was read from does', () => {
  const router = new Router(catalog, routes, 64)
  const buffer = Buffer.from('sensors/1')
  const entry = router.resolve(buffer, 0, buffer.length) as TopicEntry
  buffer.fill('x')
  assert.is(String(entry.bytes), 'sensors/1')
})

for (const [topic, problem] of [
  ['', 'empty'],
  ['a/+', 'wildcard'],
  ['a/#', 'wildcard'],
  ['a\0b', 'U+0000'],
  ['/'.repeat(201), 'levels'],
] as const)
  test(`${JSON.stringify(topic.slice(0, 10))} is not a topic name: ${problem}`, () => {
    const bytes = Buffer.from(topic)
    const entry = new Router(catalog, routes, 64).resolve(bytes, 0, bytes.length)
    assert.match('problem' in entry ? entry.problem : '', problem)
  })

test('invalid UTF-8 and surrogates are not a topic name', () => {
  for (const bytes of [Buffer.from([0x61, 0xff]), Buffer.from([0xed, 0xa0, 0x80]), Buffer.from([0xc0, 0x80])]) {
    const entry = new Router(catalog, routes, 64).resolve(bytes, 0, bytes.length)
    assert.match('problem' in entry ? entry.problem : '', 'UTF-8')
  }
})

test('a bad key rule is misuse', () => {
  assert.throws(() => new Router(catalog, [{ stream: 'sensors', topics: ['#'], key: 'level:0' }], 64), /level:N/)
})

test.run()
