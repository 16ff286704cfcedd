import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { SluiceError } from '../../src/base/errors.js'
import { silentLogger } from '../../src/base/logger.js'
import { mapTopic, parseTopicMapping } from '../../src/base/topic-mapping.js'
import { Downlink, DownlinkFlow, type DownlinkPublish, MAX_WAITING } from '../../src/replication/downlink.js'
import { FakeClock } from '../helpers/fake-clock.js'

function flowOf(publish: (message: DownlinkPublish) => void) {
  const clock = new FakeClock()
  const published: string[] = []
  const settle: ((error: SluiceError | null) => void)[] = []
  const acked: number[][] = []
  const downlink = new Downlink({
    upstream: 'cloud',
    mappings: [{ from: 'plant7/cmd/#', to: 'cmd/#' }],
    publish(message) {
      publish(message)
      published.push(`${message.mqttTopic} ${Buffer.from(message.payload)}`)
      return { onSettled: (callback) => settle.push(callback) }
    },
    subscribed: () => [],
    onSubscribed: () => {},
    clock,
    logger: silentLogger,
  })
  const flow = new DownlinkFlow(downlink, (ids) => acked.push([...ids]))
  const take = (packetId: number, qos = 1, mqttTopic = 'plant7/cmd/a') =>
    flow.take({ mqttTopic, payload: Buffer.from(String(packetId)), qos, retain: false, packetId })
  return { clock, published, settle, acked, downlink, flow, take }
}

test('a message is acknowledged once it is durable, and not before those that came earlier', () => {
  const { take, settle, acked, published, downlink } = flowOf(() => {})
  for (const id of [5, 6, 7]) take(id)
  assert.equal(published, ['cmd/a 5', 'cmd/a 6', 'cmd/a 7'])
  settle[1](null)
  assert.equal(acked, [])
  settle[0](null)
  assert.equal(acked, [[5, 6]])
  settle[2](null)
  assert.equal(acked, [[5, 6], [7]])
  assert.is(downlink.receivedTotal, 3)
})

test('what the disk does not take now, or lost in a commit that failed, is tried again before anything is acknowledged', async () => {
  let full = true
  const { take, settle, acked, published, clock } = flowOf(() => {
    if (full) throw new SluiceError('STORAGE_FULL', 'no room')
  })
  take(1)
  take(2)
  assert.equal(published, [])
  full = false
  await clock.advance(1000)
  assert.equal(published, ['cmd/a 1', 'cmd/a 2'])
  settle[0](new SluiceError('STORAGE_FULL', 'no room'))
  settle[1](null)
  assert.equal(acked, [])
  await clock.advance(1000)
  settle[2](null)
  assert.equal(acked, [[1, 2]])
})

test('what can never be published here is counted and acknowledged, and holds up nothing', () => {
  const { take, settle, acked, downlink } = flowOf(({ payload }) => {
    if (String(payload) === '1') throw new SluiceError('RECORD_TOO_LARGE', 'too large')
  })
  take(1)
  take(2)
  settle[0](null)
  assert.equal(acked, [[1], [2]])
  assert.is(downlink.refusedTotal, 1)
})

test('no more than so many wait: then the socket is not read until there is room', () => {
  const { take, settle, flow } = flowOf(() => {})
  let room = 0
  for (let id = 1; id < MAX_WAITING; id++) take(id)
  flow.whenRoom(() => (room += 1))
  assert.is(room, 1)
  take(MAX_WAITING)
  flow.whenRoom(() => (room += 1))
  assert.is(room, 1)
  settle[0](null)
  assert.is(room, 2)
})

test('QoS 0 is published at QoS 0 and never acknowledged; topics of nobody are left alone', () => {
  const { take, settle, acked, published } = flowOf(({ qos }) => assert.is(qos, 0))
  assert.is(take(0, 0), true)
  settle[0](null)
  assert.is(take(9, 1, 'other'), false)
  assert.equal([acked, published.length], [[], 1])
})

test('after the end of a connection nothing is acknowledged over it any more', () => {
  const { take, settle, acked, flow } = flowOf(() => {})
  take(1)
  flow.end()
  settle[0](null)
  assert.equal(acked, [])
})

test('a mapping carries over what each wildcard stood for', () => {
  const rows: readonly [text: string, there: string, here: string | null][] = [
    ['cmd/#', 'cmd/a/b', 'cmd/a/b'],
    ['cmd/#', 'other', null],
    ['plant7/+/cmd/# -> devices/+/cmd/#', 'plant7/x/cmd/a/b', 'devices/x/cmd/a/b'],
    ['a/+/+ -> +/b/+', 'a/1/2', '1/b/2'],
    ['a/# -> #', 'a/b/c', 'b/c'],
    ['set -> cmd/set', 'set', 'cmd/set'],
  ]
  for (const [text, there, here] of rows) {
    const mapping = parseTopicMapping(text)
    assert.type(mapping, 'object', text)
    if (typeof mapping === 'object') assert.is(mapTopic(mapping, there), here, text)
  }
  for (const wrong of ['', 'a/#/b', 'a -> b -> c', 'a/+ -> b', 'a -> b/#', 'a -> $SYS/x', '$share/g/a', 'a -> '])
    assert.type(parseTopicMapping(wrong), 'string', wrong)
})

test.run()
