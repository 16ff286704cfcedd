import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Offset } from '../../src/record/record.js'
import { AckLine, type Flight } from '../../src/replication/ack-line.js'
import { Window } from '../../src/replication/window.js'
import { type SeededRandom, withSeed } from '../helpers/seeded-random.js'

const at = (offset: number): Offset => offset as Offset
const send = (line: AckLine, offset: number): Flight => line.sent(at(offset), at(offset + 1), 0)

test('the cursor moves over contiguous acknowledgements only', () => {
  const line = new AckLine(at(5), 10)
  const [five, six, seven, eight] = [5, 6, 7, 8].map((offset) => send(line, offset))
  assert.is(line.acked(six), 0)
  assert.is(line.acked(seven), 0)
  assert.is(line.cursor, 5)
  assert.is(line.acked(five), 3)
  assert.is(line.cursor, 8)
  assert.is(line.acked(eight), 1)
  assert.is(line.oldest, undefined)
})

test('an acknowledgement that comes twice moves the cursor once', () => {
  const line = new AckLine(at(0), 10)
  const [zero, one] = [0, 1].map((offset) => send(line, offset))
  line.acked(one)
  line.acked(one)
  assert.is(line.cursor, 0)
  line.acked(zero)
  assert.is(line.acked(zero), 0)
  assert.is(line.cursor, 2)
})

test('an acknowledgement of an earlier connection is void', () => {
  const line = new AckLine(at(0), 10)
  const old = send(line, 0)
  line.restart()
  assert.is(line.acked(old), 0)
  assert.is(line.cursor, 0)
  assert.is(line.acked(send(line, 0)), 1)
})

test('the cursor passes a gap in the offsets with what follows it', () => {
  const line = new AckLine(at(0), 10)
  const before = send(line, 0)
  const after = send(line, 7)
  line.acked(before)
  assert.is(line.cursor, 1)
  line.acked(after)
  assert.is(line.cursor, 8)
})

test('sending out of order, or more than the window holds, is a broken invariant', () => {
  const line = new AckLine(at(3), 2)
  assert.throws(() => send(line, 2), /ascending/)
  send(line, 3)
  assert.throws(() => send(line, 3), /ascending/)
  send(line, 4)
  assert.ok(line.isFull)
  send(line, 5)
  assert.throws(() => send(line, 6), /window/)
})

test('a line whose oldest record is not acknowledged is full, however many later ones are', () => {
  const line = new AckLine(at(0), 3)
  const oldest = send(line, 0)
  assert.is(line.overtaken, undefined)
  for (const offset of [1, 2]) line.acked(send(line, offset))
  assert.ok(line.isFull)
  assert.is(line.overtaken, oldest)
  line.acked(oldest)
  assert.not.ok(line.isFull)
  assert.is(line.overtaken, undefined)
  assert.is(line.cursor, 3)
})

test('a window takes what it has room for and no more, and knows its slots again', () => {
  const weighed = new Window<string>(5)
  const heavy = weighed.take('three', 3)
  weighed.take('two', 2)
  assert.is(weighed.inFlight, 5)
  assert.is(weighed.release(heavy), 'three')
  assert.is(weighed.inFlight, 2)
  assert.throws(() => weighed.take('four', 4), /window/)

  const window = new Window<string>(2)
  const a = window.take('a')
  const b = window.take('b')
  assert.throws(() => window.take('c'), /window/)
  assert.is(window.release(b), 'b')
  assert.is(window.release(b), undefined)
  assert.is(window.release(99), undefined)
  assert.is(window.inFlight, 1)
  window.clear()
  assert.is(window.release(a), undefined)
  assert.is(window.inFlight, 0)
})

/**
 * Lanes that share a window, a far side that acknowledges in any order, connections that are lost at any moment with acknowledgements on
 * their way, and restarts that know only what was saved.
 */
function simulate(random: SeededRandom): void {
  const records = 1 + random.below(200)
  const maxInFlight = 1 + random.below(32)
  const atOnce = 1 + random.below(Math.ceil(maxInFlight / 4))
  const lines = Array.from({ length: 1 + random.below(4) }, () => new AckLine(at(0), maxInFlight, atOnce))
  const window = new Window<Flight>(maxInFlight)
  const next = lines.map(() => 0)
  const arrived = lines.map(() => [] as number[])
  const saved = lines.map(() => 0)
  let onTheWay: { slot: number; line: number; offset: number }[] = []
  const lose = (cursorOf: (line: number) => number): void => {
    window.clear()
    onTheWay = []
    lines.forEach((line, i) => {
      line.restart(at(cursorOf(i)))
      next[i] = line.cursor
    })
  }
  for (let step = 0; lines.some((line) => line.cursor < records); step++) {
    assert.ok(step < 200_000, 'comes to an end')
    const i = random.below(lines.length)
    const hasRoom = window.inFlight + atOnce <= window.size
    if (random.chance(0.5) && hasRoom && !lines[i].isFull && next[i] < records) {
      const offset = next[i]
      const messages = Math.min(1 + random.below(atOnce), records - offset)
      next[i] += messages
      for (let n = offset; n < next[i]; n++) arrived[i].push(n)
      const flight = lines[i].sent(at(offset), at(next[i]), 0, messages)
      onTheWay.push({ slot: window.take(flight, messages), line: i, offset })
    } else if (onTheWay.length > 0 && random.chance(0.9)) {
      const [{ slot }] = onTheWay.splice(random.below(onTheWay.length), 1)
      const flight = window.release(slot)
      flight?.line.acked(flight)
    } else if (random.chance(0.05)) {
      lines.forEach((line, n) => {
        saved[n] = line.cursor
      })
    } else if (random.chance(0.01)) lose((n) => lines[n].cursor)
    else if (random.chance(0.005)) lose((n) => saved[n])
    lines.forEach((line, n) => {
      assert.ok(line.cursor <= new Set(arrived[n]).size, 'never ahead of what has arrived')
      assert.ok(next[n] - line.cursor <= maxInFlight, 'no more than a window would be sent again')
    })
  }
  for (const offsets of arrived) {
    const first = offsets.filter((offset, n) => offsets.indexOf(offset) === n)
    assert.equal(
      first,
      Array.from({ length: records }, (_, n) => n),
    )
    for (const [n, offset] of offsets.entries()) assert.ok(n === 0 || offset <= offsets[n - 1] + 1, 'never skips ahead')
  }
}

test('nothing is lost and order is kept, whatever is acknowledged when and whenever a connection is lost', async () => {
  for (let round = 0; round < 200; round++) await withSeed(simulate)
})

test.run()
