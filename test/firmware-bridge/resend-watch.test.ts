import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { ResendWatch } from '../../firmware-bridge/mqttsn/resend-watch.js'

const VARIES = { varies: true, counts: false }

/** A message comes; it is stored unless it is known. */
function come(watch: ResendWatch, messageId: number, content: number, dup = false): string {
  const judgement = watch.judge(messageId, content, dup)
  if (judgement === 'new' || judgement === 'ask') watch.stored(watch.published(messageId, content))
  return judgement
}

test('a resend of the last message is known once two in succession had different ids', () => {
  const watch = new ResendWatch(undefined, false)
  assert.is(come(watch, 1, 10), 'new')
  assert.is(come(watch, 1, 10, true), 'new', 'nothing is known of its ids yet')
  assert.is(come(watch, 2, 10), 'new')
  assert.is(come(watch, 2, 10, true), 'known')
  assert.is(come(watch, 2, 11, true), 'new', 'other content')
})

test('a client that always uses one id, and one whose id is new with each boot, lose nothing', () => {
  const constant = new ResendWatch(undefined, false)
  for (let i = 0; i < 200; i++) assert.is(come(constant, 1, 10, i % 3 === 2), 'new')
  const rebooting = new ResendWatch(undefined, false)
  for (let boot = 0; boot < 50; boot++) {
    rebooting.reconnected(false)
    assert.is(come(rebooting, 1, 10, boot % 2 === 1), 'new', 'its one message of this boot, first try lost')
  }
})

test('a client that goes round a few ids loses nothing, whatever it sends', () => {
  for (const period of [2, 3, 16, 17, 64, 65, 100]) {
    const watch = new ResendWatch(undefined, false)
    for (let i = 0; i < 1000; i++) assert.is(come(watch, 1 + (i % period), 10), 'new', `${i} of ${period}`)
  }
})

test('copies that the network makes are known of a client that counts, also past the end of the numbers', () => {
  const watch = new ResendWatch(undefined, false)
  let id = 65_400
  for (let i = 0; i < 300; i++) {
    id = (id % 65_535) + 1
    assert.is(come(watch, id, i), 'new')
    // Copies before it is trusted are stored, and do not keep it from being trusted.
    const copy = come(watch, id, i)
    assert.is(copy, i < 64 ? 'new' : 'known', String(i))
    if (i >= 80) assert.is(come(watch, ((id - 6 + 65_535) % 65_535) + 1, i - 5), 'known')
  }
})

test('that a client counts is remembered over restarts and connections, and forgotten when it does not', () => {
  const watch = new ResendWatch({ varies: true, counts: true }, false)
  assert.is(come(watch, 7, 1), 'new')
  assert.is(come(watch, 7, 1), 'known')
  watch.reconnected(false)
  assert.is(come(watch, 7, 1), 'new', 'of another boot')
  assert.is(come(watch, 3, 2), 'new', 'it goes back')
  assert.is(watch.habits.counts, false)
  assert.is(come(watch, 3, 2), 'new')
})

test('after a restart the log is asked of a resend, and only for a client whose ids vary', () => {
  assert.is(come(new ResendWatch(VARIES, false), 5, 10, true), 'ask')
  assert.is(come(new ResendWatch(VARIES, false), 5, 10), 'new')
  assert.is(come(new ResendWatch(undefined, false), 5, 10, true), 'new')
  assert.is(come(new ResendWatch(undefined, true), 5, 10, true), 'ask', 'under the seal they do')
})

test('a message under way is waited for, and one whose commit failed is asked of the log', () => {
  const watch = new ResendWatch(VARIES, false)
  const published = watch.published(5, 10)
  assert.is(watch.judge(5, 10, false), 'pending')
  assert.is(watch.judge(5, 10, true), 'pending')
  watch.failed(published)
  assert.is(watch.judge(5, 10, true), 'ask')
})

test('under the seal a resend that the next message has overtaken is known, until the client connects anew', () => {
  const watch = new ResendWatch(undefined, true)
  come(watch, 5, 10)
  come(watch, 6, 11)
  assert.is(come(watch, 5, 10, true), 'known')
  assert.is(come(watch, 5, 12), 'new', 'other content')
  watch.reconnected(false)
  assert.is(come(watch, 5, 10), 'new', 'it may count from anywhere now')
})

test('a clean session knows of nothing before', () => {
  const watch = new ResendWatch(VARIES, false)
  come(watch, 5, 10)
  watch.reconnected(true)
  assert.is(come(watch, 5, 10, true), 'new')
})

test.run()
