import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { checkDelivery, numbered } from '../helpers/delivery-check.js'

const messages = [1, 2, 3, 4].map((n) => numbered({ mqttTopic: 't', payload: '{"value":1}' }, n))
const [one, two, three, four] = messages

test('everything once and in order is a clean delivery', () => {
  assert.equal(checkDelivery(messages, messages), { delivered: 4, lost: 0, duplicated: 0, outOfOrder: 0 })
})

test('a message that is missing is lost, even when another came twice', () => {
  assert.equal(checkDelivery(messages, [one, two, two, four]), { delivered: 3, lost: 1, duplicated: 1, outOfOrder: 0 })
})

test('a repeated stretch after a reconnect is duplicated, not out of order', () => {
  const arrived = [one, two, three, two, three, four]
  assert.equal(checkDelivery(messages, arrived), { delivered: 4, lost: 0, duplicated: 2, outOfOrder: 0 })
})

test('a first copy behind a later message of its topic is out of order', () => {
  assert.is(checkDelivery(messages, [one, three, two, four]).outOfOrder, 1)
})

test('order is per topic', () => {
  const other = { ...two, mqttTopic: 'u' }
  assert.is(checkDelivery(messages, [one, three, other, four]).outOfOrder, 0)
})

test.run()
