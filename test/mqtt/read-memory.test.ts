// What clients begin and never finish, over TCP and over WebSocket.

import { request } from 'node:http'
import type { Socket } from 'node:net'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { eventually } from '../helpers/eventually.js'
import { LogLines } from '../helpers/log-lines.js'
import { connectPacket, publishPacket, RawClient } from './raw-client.js'
import { startFront } from './start-front.js'

const PART_BYTES = 9000
const CLIENTS = 10

/** A client that writes its own frames. */
class WebSocketClient {
  /** Whole frames of the node, each a packet here. */
  readonly packets: Buffer[] = []

  private constructor(readonly socket: Socket) {
    socket.on('error', () => {})
    socket.on('data', (frame: Buffer) => this.packets.push(frame))
  }

  static async connected(port: number, clientId: string): Promise<WebSocketClient> {
    const upgrade = request({
      port,
      headers: {
        Connection: 'Upgrade',
        Upgrade: 'websocket',
        'Sec-WebSocket-Version': '13',
        'Sec-WebSocket-Key': Buffer.alloc(16).toString('base64'),
        'Sec-WebSocket-Protocol': 'mqtt',
      },
    }).end()
    const socket = await new Promise<Socket>((resolve, reject) =>
      upgrade.once('upgrade', (_response, opened) => resolve(opened as Socket)).once('error', reject),
    )
    const client = new WebSocketClient(socket)
    socket.write(framesOf(connectPacket({ clientId }), 1))
    await eventually('CONNACK has come', () => client.packets.length === 1, 30_000)
    client.packets.splice(0)
    return client
  }
}

/** One message of binary frames, masked with zeros; RFC 6455 section 5.2. */
function framesOf(bytes: Buffer, count: number): Buffer {
  const size = Math.ceil(bytes.length / count)
  const frames: Buffer[] = []
  for (let i = 0; i < count; i++) {
    const part = bytes.subarray(i * size, (i + 1) * size)
    const first = (i === 0 ? 2 : 0) | (i === count - 1 ? 0x80 : 0)
    const length = part.length < 126 ? [0x80 | part.length] : [0x80 | 126, part.length >> 8, part.length & 0xff]
    frames.push(Buffer.from([first, ...length, 0, 0, 0, 0]), part)
  }
  return Buffer.concat(frames)
}

test('packets that are never finished cost no more memory than the maximum: beyond it who holds most is cut off, and nobody else', async () => {
  const log = new LogLines()
  const limits = { maxHeldBytes: CLIENTS * PART_BYTES }
  const { port, front, stop } = await startFront({ limits, logger: log.logger })
  const packet = publishPacket('t', 'x'.repeat(20_000), { qos: 1, id: 1 })
  const clients: RawClient[] = []
  for (let i = 0; i < CLIENTS; i++) clients.push(await RawClient.connected(port, `half ${i}`))
  const small = await RawClient.connected(port, 'small')
  const before = front.stats().receivedBytes
  for (const client of clients) client.write(packet.subarray(0, PART_BYTES))
  await eventually('all of it is read', () => front.stats().receivedBytes === before + CLIENTS * PART_BYTES, 30_000)
  assert.is(front.stats().connections, CLIENTS + 1)

  // One byte too many: of a packet that is all but whole.
  const good = publishPacket('t', 'small', { qos: 1, id: 7 })
  small.write(good.subarray(0, 1))
  await Promise.race(clients.map((client) => client.whenClosed()))
  small.write(good.subarray(1))
  assert.is((await small.next())?.first, 0x40)
  assert.is(front.stats().connections, CLIENTS)
  const [line] = log.having('client cut off')
  assert.match(line, /mqtt\.max_unfinished_bytes/)

  // The others finish, and what they held is given back.
  const left = clients.filter(({ closed }) => !closed)
  for (const client of left) {
    client.write(packet.subarray(PART_BYTES))
    assert.is((await client.next())?.first, 0x40)
  }
  for (const client of left) client.write(packet.subarray(0, PART_BYTES))
  for (const client of left) client.write(packet.subarray(PART_BYTES))
  for (const client of left) assert.is((await client.next())?.first, 0x40)
  assert.is(log.having('client cut off').length, 1)
  await stop()
})

for (const fragments of [1, 4]) {
  test(`a WebSocket message that is never finished counts too, in ${fragments === 1 ? 'one frame' : 'fragments'}`, async () => {
    const log = new LogLines()
    const limits = { maxHeldBytes: 10 * PART_BYTES }
    const { front, stop } = await startFront({ limits, logger: log.logger, listen: ['ws://127.0.0.1:0'] })
    const port = Number(front.addresses[0].split(':').pop())
    const packet = publishPacket('t', 'x'.repeat(20_000), { qos: 1, id: 1 })
    const frames = framesOf(packet, fragments)
    const cut = frames.length - 11_000
    const small = framesOf(publishPacket('t', 'small', { qos: 1, id: 7 }), 1)
    const answered = async (client: WebSocketClient, message = small) => {
      client.packets.splice(0)
      client.socket.write(message)
      await eventually('the packet is acknowledged', () => client.packets.length > 0, 30_000)
    }
    const clients: WebSocketClient[] = []
    const closed = () => clients.filter((client) => client.socket.destroyed)
    // What has been received and acknowledged is not held any more, however often.
    const busy = await WebSocketClient.connected(port, 'busy')
    for (let n = 0; n < 20; n++) await answered(busy, frames)
    for (let i = 0; i < 9; i++) {
      const client = await WebSocketClient.connected(port, `half ${i}`)
      clients.push(client)
      client.socket.write(frames.subarray(0, cut))
      await answered(busy)
    }
    assert.is(closed().length, 0)
    const last = await WebSocketClient.connected(port, 'last')
    clients.push(last)
    last.socket.write(frames.subarray(0, cut))
    await eventually('one of them is cut off', () => closed().length > 0, 30_000)
    await answered(busy)
    assert.is(closed().length, 1)
    assert.match(log.having('client cut off')[0], /mqtt\.max_unfinished_bytes/)

    // The others finish, and what they held is given back.
    const left = clients.filter((client) => !client.socket.destroyed)
    for (const client of left) {
      client.socket.write(frames.subarray(cut))
      await eventually('the packet is acknowledged', () => client.packets.length > 0, 30_000)
    }
    for (const client of left) client.socket.write(frames.subarray(0, cut))
    for (const client of left) client.socket.write(frames.subarray(cut))
    for (const client of left)
      await eventually('its next packet is acknowledged', () => client.packets.length > 1, 30_000)
    assert.is(log.having('client cut off').length, 1)
    await stop()
  })
}

test.run()
