import { connect, createServer, type Socket } from 'node:net'
import { PassThrough } from 'node:stream'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { readChunks } from '../../src/mqtt/shared-reads.js'

/** A server whose connections go to `onSocket`, and a client of it. */
async function pair(onSocket: (socket: Socket) => void): Promise<{ client: Socket; end: () => Promise<void> }> {
  const server = createServer(onSocket)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const client = connect((server.address() as { port: number }).port, '127.0.0.1')
  const end = async () => {
    client.destroy()
    await new Promise((resolve) => server.close(resolve))
  }
  return { client, end }
}

test('an accepted socket reads into the shared buffer on this version of Node, and holds back, goes on and ends as ever', async () => {
  let received = ''
  let isShared = false
  let accepted: Socket | null = null
  let wake = () => {}
  const { client, end } = await pair((socket) => {
    accepted = socket
    isShared = readChunks(socket, (chunk, end) => {
      received += chunk.toString('latin1', 0, end)
      if (received.endsWith('.')) socket.pause()
      wake()
    })
    socket.on('end', () => {
      received += 'END'
      wake()
    })
  })
  const until = async (text: string): Promise<void> => {
    while (received !== text) await new Promise<void>((resolve) => (wake = resolve))
  }
  client.write('one.')
  await until('one.')
  assert.ok(isShared, 'the shared buffer is in use')
  client.write('two,')
  // What the paused side does not read stays in the system: the client's bytes have left, nothing has come.
  await new Promise<void>((resolve) => client.write('three', () => resolve()))
  assert.is(received, 'one.')
  accepted!.resume()
  await until('one.two,three')
  client.end('!')
  await until('one.two,three!END')
  await end()
})

test('a chunk is gone once the call that brought it has returned', async () => {
  const chunks: Buffer[] = []
  let wake = () => {}
  const { client, end } = await pair((socket) => {
    readChunks(socket, (chunk, end) => {
      chunks.push(chunk.subarray(0, end))
      wake()
    })
  })
  for (const text of ['first', 'other']) {
    const arrived = new Promise<void>((resolve) => (wake = resolve))
    client.write(text)
    await arrived
  }
  assert.equal(chunks.map(String), ['other', 'other'])
  await end()
})

test('streams that are no plain sockets are read by their data events', async () => {
  const stream = new PassThrough()
  const received = new Promise((resolve) =>
    assert.not(readChunks(stream, (chunk, end) => resolve(chunk.subarray(0, end)))),
  )
  stream.write('x')
  assert.is(String(await received), 'x')
})

test.run()
