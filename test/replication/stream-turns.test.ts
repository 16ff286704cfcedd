import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { StreamTurns, type TakesTurns } from '../../src/replication/stream-turns.js'
import { withSeed } from '../helpers/seeded-random.js'

interface Line extends TakesTurns {
  preparing: boolean
  readonly name: string
  sent: number
}

function line(name: string, weight: number, turnsWith: object = { name }): Line {
  return { name, weight, turnsWith, queued: false, preparing: false, sent: 0 }
}

/** Sends `bytes` in all, of lines that have always something to send; a shipment of a line has `sizeOf` it. */
function send(turns: StreamTurns<Line>, bytes: number, sizeOf: (line: Line) => number, sent = (_: Line): void => {}) {
  let left = bytes
  while (left > 0) {
    const one = turns.take()
    if (one === undefined) return
    for (let goesOn = true; goesOn && left > 0; ) {
      const size = sizeOf(one)
      one.sent += size
      left -= size
      sent(one)
      goesOn = turns.spent(one, size)
    }
    turns.enter(one)
  }
}

test('streams get bytes by their weights, whatever the sizes of their records', () =>
  withSeed((random) => {
    const turns = new StreamTurns<Line>()
    const lines = [line('a', 1), line('b', 3), line('c', 8)]
    const largest: Record<string, number> = { a: 200_000, b: 50, c: 3000 }
    for (const one of lines) turns.enter(one)
    send(turns, 50_000_000, ({ name }) => 1 + random.below(largest[name]))
    const total = lines.reduce((sum, { sent }) => sum + sent, 0)
    for (const { name, weight, sent } of lines) {
      const share = sent / total
      assert.ok(Math.abs(share - weight / 12) < 0.01, `${name} of weight ${weight} got ${share}`)
    }
  }))

test('weight 1 beside weight 100 is never passed over for longer than its share says', () => {
  const turns = new StreamTurns<Line>()
  const light = line('light', 1)
  const heavy = line('heavy', 100)
  turns.enter(heavy)
  turns.enter(light)
  let between = 0
  let longest = 0
  send(
    turns,
    20_000_000,
    () => 150,
    (one) => {
      between = one === light ? 0 : between + 150
      longest = Math.max(longest, between)
    },
  )
  assert.ok(longest <= 100 * (2 * 1024 + 150), `${longest} bytes of the other in a row`)
  assert.ok(light.sent > 150_000)
})

test('a stream with nothing to send costs nothing and saves nothing up', () => {
  const turns = new StreamTurns<Line>()
  const busy = line('busy', 1)
  const idle = line('idle', 1)
  turns.enter(busy)
  send(turns, 1_000_000, () => 100)
  assert.is(busy.sent >= 1_000_000, true, 'all of it')
  const sentBefore = busy.sent
  turns.enter(idle)
  let inARow = 0
  send(
    turns,
    20_000,
    () => 100,
    (one) => {
      if (one === idle && busy.sent === sentBefore) inARow += 1
    },
  )
  assert.ok(inARow * 100 <= 3 * 2048 + 100, `${inARow * 100} bytes ahead of the other`)
})

test('a stream that has to wait for the disk now and then gets its share all the same', () => {
  const turns = new StreamTurns<Line>()
  const [waits, ready] = [line('waits', 3), line('ready', 1)]
  turns.enter(ready)
  turns.enter(waits)
  let ofIts = 0
  while (waits.sent + ready.sent < 40_000_000) {
    const one = turns.take()!
    one.sent += 100_000
    turns.spent(one, 100_000)
    // Every fourth time it comes late for the next turn.
    if (one === ready) turns.enter(waits)
    if (one === ready || ++ofIts % 4 !== 0) turns.enter(one)
  }
  const share = waits.sent / (waits.sent + ready.sent)
  assert.ok(Math.abs(share - 0.75) < 0.05, `${share} of the bytes, 0.75 due`)
})

test('the partitions of a stream share its turns alike, and have no more together than a stream of one', () => {
  const turns = new StreamTurns<Line>()
  const stream = {}
  const partitions = [0, 1, 2, 3].map((n) => line(`p${n}`, 1, stream))
  const other = line('other', 1)
  for (const one of [...partitions, other]) turns.enter(one)
  send(turns, 8_000_000, () => 100)
  for (const { sent } of partitions) assert.ok(Math.abs(sent - 1_000_000) < 5_000, `${sent}`)
  assert.ok(Math.abs(other.sent - 4_000_000) < 5_000)
})

test('a line that is taken and has nothing to send leaves the others their turns', () => {
  const turns = new StreamTurns<Line>()
  const [empty, full] = [line('empty', 1), line('full', 1)]
  turns.enter(empty)
  turns.enter(full)
  assert.is(turns.take(), empty)
  assert.is(turns.take(), full)
  assert.is(turns.take(), undefined)
  turns.enter(empty)
  assert.is(turns.take(), empty)
})

/** A line whose next shipment is ready only after the other has had a turn. */
function sendBeside(late: Line, ready: Line, mayWait: boolean, bytes: number, turns = new StreamTurns<Line>()): void {
  turns.enter(ready)
  turns.enter(late)
  const end = late.sent + ready.sent + bytes
  while (late.sent + ready.sent < end) {
    const one = turns.take(mayWait)
    if (one === undefined) {
      late.preparing = false
      continue
    }
    one.sent += 100_000
    turns.spent(one, 100_000)
    late.preparing = one === late
    turns.enter(one)
  }
}

test('a line that is still being made ready is waited for where there is time, and gets its share', () => {
  const [late, ready] = [line('late', 4), line('ready', 1)]
  sendBeside(late, ready, true, 50_000_000)
  assert.ok(Math.abs(late.sent - 4 * ready.sent) <= 400_000, `${late.sent} beside ${ready.sent}`)
})

test('where there is no time to wait, others go before a line that is being made ready, and it saves up no more than its allowance', () => {
  const turns = new StreamTurns<Line>()
  const [late, ready] = [line('late', 4), line('ready', 1)]
  sendBeside(late, ready, false, 50_000_000, turns)
  assert.ok(Math.abs(late.sent - ready.sent) <= 100_000, `by turns: ${late.sent} beside ${ready.sent}`)
  const before = ready.sent
  // From now on it is ready at once.
  let ofIts = 0
  for (let one = turns.take(); one === late && ready.sent === before; one = turns.take()) {
    ofIts += 1
    turns.spent(one, 100_000)
    turns.enter(one)
  }
  assert.ok(ofIts <= 4 + 2 + 1, `${ofIts} shipments in a row`)
})

test('of a stream, the partitions that are ready go while another is being made ready', () => {
  const turns = new StreamTurns<Line>()
  const stream = {}
  const [packing, ready] = [line('p0', 1, stream), line('p1', 1, stream)]
  packing.preparing = true
  turns.enter(packing)
  turns.enter(ready)
  assert.is(turns.take(true), ready)
  assert.is(turns.take(true), undefined, 'the other is waited for')
  packing.preparing = false
  assert.is(turns.take(true), packing)
})

test.run()
