import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Flight } from '../../src/replication/ack-line.js'
import { SendRoom } from '../../src/replication/send-room.js'

const FLIGHT = {} as Flight
const NO_LIMIT = Number.POSITIVE_INFINITY

function roomOf(maxInFlight: number, messagesAtOnce: number, tellsPositions = false): SendRoom {
  return new SendRoom(maxInFlight, { maxSlots: 1000, messagesAtOnce, tellsPositions })
}

/** Sends while there is room; @returns the slots. */
function fill(room: SendRoom, messagesAtOnce: number, unsaved = 0): number[] {
  const slots: number[] = []
  while (room.has(NO_LIMIT, unsaved)) slots.push(room.window.take(FLIGHT, messagesAtOnce))
  return slots
}

test('three quarters of the window are filled at once, and the rest only in answer to acknowledgements', () => {
  const room = roomOf(100, 5)
  assert.is(fill(room, 5).length, 15)
  room.answer()
  assert.is(fill(room, 5).length, 1)
  assert.is(room.window.inFlight, 80)
  for (let i = 0; i < 10; i++) {
    room.answer()
    fill(room, 5)
  }
  assert.is(room.window.inFlight, 100, 'and never more than the window')
})

test('what is acknowledged and not saved counts, and is to be saved before it can fill the window', () => {
  for (const [size, atOnce] of [
    [1, 1],
    [3, 1],
    [4, 1],
    [100, 1],
    [1000, 15],
    [4000, 16],
  ]) {
    const room = roomOf(size, atOnce)
    const slots = fill(room, atOnce)
    let unsaved = 0
    for (let rounds = 0; unsaved < room.maxUnsaved; rounds++) {
      assert.ok(rounds <= size, 'comes to a save')
      const slot = slots.shift()
      if (slot === undefined) assert.unreachable(`a window of ${size} waits for ${unsaved} of ${room.maxUnsaved}`)
      room.window.release(slot as number)
      unsaved += atOnce
      room.answer()
      slots.push(...fill(room, atOnce, unsaved))
      assert.ok(room.window.inFlight + unsaved <= size)
    }
  }
})

test('of a target that keeps positions only what is in flight counts', () => {
  const room = roomOf(16, 1, true)
  assert.is(fill(room, 1, 1_000_000).length, 16)
})

test('a limit holds but for one shipment alone; a lost connection frees everything', () => {
  const room = roomOf(100, 5)
  assert.ok(room.has(1, 0))
  room.window.take(FLIGHT, 5)
  assert.not.ok(room.has(9, 0))
  assert.ok(room.has(10, 0))
  fill(room, 5)
  room.answer()
  room.clear()
  assert.is(fill(room, 5).length, 15)
})

test.run()
