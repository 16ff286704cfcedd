import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { PacketFramer, type PacketSink } from '../../src/mqtt/packet-framer.js'
import { PINGREQ, packet, publishPacket, subscribePacket } from './raw-client.js'

class Recorder implements PacketSink {
  paused = false
  readonly packets: string[] = []
  readonly violations: string[] = []
  /** Refuses this many packets, one by one. */
  refusals = 0

  onPacket(buffer: Buffer, start: number, _bodyStart: number, end: number): boolean {
    if (this.refusals > 0) {
      this.refusals -= 1
      this.paused = true
      return false
    }
    this.packets.push(buffer.subarray(start, end).toString('hex'))
    return true
  }
  onViolation(problem: string): void {
    this.violations.push(problem)
  }
}

const PACKETS = [
  publishPacket('a/b', 'x'),
  PINGREQ,
  publishPacket('a/b', 'y'.repeat(300), { qos: 1, id: 3 }),
  subscribePacket(1, ['a/#', 1]),
  publishPacket('long', 'z'.repeat(20_000), { qos: 2, id: 65_535 }),
  PINGREQ,
]
const STREAM = Buffer.concat(PACKETS)
const EXPECTED = PACKETS.map((one) => one.toString('hex'))

/** Pushes a chunk as the gate does: other bytes stand in its place as soon as the call has returned. */
function lend(framer: PacketFramer, bytes: Buffer): void {
  const chunk = Buffer.from(bytes)
  framer.push(chunk)
  chunk.fill(0xff)
}

test('packets come out whole wherever the stream is cut in two', () => {
  for (let cut = 0; cut <= STREAM.length; cut += cut < 400 || cut > STREAM.length - 50 ? 1 : 97) {
    const sink = new Recorder()
    const framer = new PacketFramer(sink, 65_536)
    lend(framer, STREAM.subarray(0, cut))
    lend(framer, STREAM.subarray(cut))
    assert.equal(sink.packets, EXPECTED, `cut at ${cut}`)
  }
})

test('packets come out whole when every byte comes alone', () => {
  const sink = new Recorder()
  const framer = new PacketFramer(sink, 65_536)
  for (const byte of STREAM) lend(framer, Buffer.from([byte]))
  assert.equal(sink.packets, EXPECTED)
})

test('a refused packet is offered again by resume, wherever the stream is cut, and nothing is lost or repeated', () => {
  for (let cut = 1; cut < STREAM.length; cut += cut < 400 ? 1 : 97)
    for (let accepted = 0; accepted < PACKETS.length; accepted++) {
      const sink = new Recorder()
      const framer = new PacketFramer(sink, 65_536)
      const take = sink.onPacket.bind(sink)
      let armed = true
      sink.onPacket = (...range) => {
        if (armed && sink.packets.length === accepted) {
          armed = false
          sink.refusals = 2
        }
        return take(...range)
      }
      for (const chunk of [STREAM.subarray(0, cut), STREAM.subarray(cut)]) {
        lend(framer, chunk)
        while (sink.paused) {
          sink.paused = false
          framer.resume()
        }
      }
      assert.equal(sink.packets, EXPECTED, `cut at ${cut}, refused after ${accepted}`)
    }
})

test('a packet of exactly the maximum passes and one byte more does not', () => {
  const exact = publishPacket('t', 'x'.repeat(95))
  const sink = new Recorder()
  new PacketFramer(sink, exact.length).push(exact)
  assert.is(sink.packets.length, 1)
  const strict = new Recorder()
  const framer = new PacketFramer(strict, exact.length - 1)
  // Known from the header alone, before the body has come.
  lend(framer, exact.subarray(0, 3))
  assert.match(strict.violations[0], 'larger than the limit')
  lend(framer, exact)
  assert.is(strict.packets.length, 0)
})

const VIOLATIONS: readonly [string, number[] | Buffer, string][] = [
  ['packet type 0', [0x00, 0], 'not one a client may send'],
  ['packet type 15', [0xf0, 0], 'not one a client may send'],
  ['CONNACK from a client', [0x20, 2, 0, 0], 'not one a client may send'],
  ['SUBACK from a client', [0x90, 3, 0, 1, 0], 'not one a client may send'],
  ['a remaining length of five bytes', [0x30, 0xff, 0xff, 0xff, 0xff, 0x01], 'longer than four bytes'],
  ['PUBLISH with QoS 3', [0x36, 5], 'QoS 3'],
  ['PUBLISH QoS 0 with DUP', [0x38, 5], 'DUP'],
  ['PUBLISH without a topic', [0x30, 2], 'too short'],
  ['PUBREL with flags 0', [0x60, 2], 'reserved flags'],
  ['SUBSCRIBE with flags 0', [0x80, 6], 'reserved flags'],
  ['UNSUBSCRIBE with flags 3', [0xa3, 6], 'reserved flags'],
  ['PUBACK with flags', [0x41, 2], 'reserved flags'],
  ['PUBACK of three bytes', [0x40, 3], 'two bytes long'],
  ['PINGREQ with a body', [0xc0, 1], 'no body'],
  ['DISCONNECT with flags', [0xe1, 0], 'reserved flags'],
]
for (const [name, bytes, problem] of VIOLATIONS)
  test(`${name} is a violation, and nothing is read after it`, () => {
    const sink = new Recorder()
    const framer = new PacketFramer(sink, 1 << 20)
    lend(framer, Buffer.from(bytes))
    lend(framer, PINGREQ)
    assert.is(sink.violations.length, 1)
    assert.match(sink.violations[0], problem)
    assert.is(sink.packets.length, 0)
  })

test('MQTT 3.1 may set DUP on PUBREL and SUBSCRIBE', () => {
  const sink = new Recorder()
  const framer = new PacketFramer(sink, 65_536)
  framer.protocolLevel = 3
  lend(framer, packet(0x6a, [0, 1]))
  assert.is(sink.packets.length, 1)
})

test.run()
