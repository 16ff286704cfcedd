// MQTT over WebSocket, MQTT 3.1.1 section 6; each test holds the node to the statement it names.

import * as assert from 'uvu/assert'
import { WebSocket } from 'ws'
import { connectPacket, PINGREQ, publishPacket, subscribePacket } from '../mqtt/raw-client.js'
import { servedOver } from './served-over.js'

servedOver(['ws'], (test, server) => {
  const opened = async (subprotocols: string | string[]) => {
    const webSocket = new WebSocket(server.url, subprotocols)
    await new Promise<void>((resolve, reject) => webSocket.once('open', resolve).once('error', reject))
    return webSocket
  }
  /** Bytes that come back until there are `length` of them, and whether each frame was binary. */
  const received = (webSocket: WebSocket, length: number) =>
    new Promise<Buffer>((resolve, reject) => {
      let bytes = Buffer.alloc(0)
      webSocket.on('message', (data: Buffer, isBinary) => {
        if (!isBinary) reject(new Error('a frame is not binary'))
        bytes = Buffer.concat([bytes, data])
        if (bytes.length >= length) resolve(bytes)
      })
      webSocket.once('close', () => reject(new Error('closed')))
    })

  test('06-01 [MQTT-6.0.0-4] the subprotocol chosen is mqtt, also among others', async () => {
    for (const offered of ['mqtt', ['chat', 'mqtt']]) {
      const webSocket = await opened(offered)
      assert.is(webSocket.protocol, 'mqtt')
      webSocket.terminate()
    }
  })

  test('06-02 [MQTT-6.0.0-3] who does not offer mqtt is not let in', async () => {
    for (const offered of [[], ['chat']]) {
      const error = await opened(offered).catch((reason: Error) => reason)
      assert.instance(error, Error)
    }
  })

  test('06-03 [MQTT-6.0.0-1] a text frame closes the connection, and what the node sends is binary', async () => {
    const webSocket = await opened('mqtt')
    const connack = received(webSocket, 4)
    webSocket.send(connectPacket({ clientId: 'binary' }))
    assert.equal(await connack, Buffer.from([0x20, 2, 0, 0]))
    const closed = new Promise((resolve) => webSocket.once('close', resolve))
    webSocket.send('\xc0\0')
    await closed
  })

  test('06-04 [MQTT-6.0.0-2] packets may share a frame, and one may come in many', async () => {
    const webSocket = await opened('mqtt')
    const bytes = Buffer.concat([
      connectPacket({ clientId: 'frames' }),
      subscribePacket(1, ['f', 0]),
      publishPacket('f', 'x'),
      PINGREQ,
    ])
    const expected = Buffer.from([0x20, 2, 0, 0, 0x90, 3, 0, 1, 0, 0x30, 4, 0, 1, 0x66, 0x78, 0xd0, 0])
    const together = received(webSocket, expected.length)
    webSocket.send(bytes)
    assert.equal(await together, expected)
    webSocket.terminate()
    const other = await opened('mqtt')
    const apart = received(other, expected.length)
    for (const byte of bytes) other.send(Buffer.from([byte]))
    assert.equal(await apart, expected)
    other.terminate()
  })
})
