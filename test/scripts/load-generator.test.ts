import { createServer, type Server } from 'node:net'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { LoadResult, LoadShape } from '../../scripts/bench/load-generator.js'
import { Program, runProgram } from '../helpers/program.js'

const BENCH = join(import.meta.dirname, '..', '..', 'scripts', 'bench')
const SHAPE = { qos: 1, connections: 3, inFlight: 5, payloadBytes: 100, warmUpMs: 50, measureMs: 200 } as const

function generate(shape: LoadShape) {
  return runProgram(process.execPath, [join(BENCH, 'load-generator.js'), JSON.stringify(shape)])
}

async function withSink(use: (port: number) => Promise<void>): Promise<void> {
  const sink = new Program(process.execPath, [join(BENCH, 'ack-sink.js')])
  const [, port] = await sink.waitFor(/listening on port (\d+)/)
  try {
    await use(Number(port))
  } finally {
    await sink.stop('SIGKILL')
  }
}

/** A broker that lets everyone in and then answers every chunk with the same bytes. */
async function withBroker(answer: Buffer, use: (port: number) => Promise<void>): Promise<void> {
  const server: Server = createServer((socket) => {
    socket.on('error', () => {})
    socket.once('data', () => {
      socket.write(Buffer.from([0x20, 2, 0, 0]))
      socket.on('data', () => socket.write(answer))
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  await use(typeof address === 'object' && address !== null ? address.port : 0)
  server.close()
}

for (const qos of [0, 1] as const) {
  test(`the load generator counts what a broker has taken at QoS ${qos}`, async () => {
    await withSink(async (port) => {
      const { code, stdout, stderr } = await generate({ ...SHAPE, qos, port })
      assert.is(code, 0, stderr)
      const { messages, seconds, messagesPerSecond } = JSON.parse(stdout) as LoadResult
      assert.ok(messages > 100 && seconds > 0.1, stdout)
      assert.is(messagesPerSecond, messages / seconds)
    })
  })
}

test('the load generator refuses to count acknowledgements out of order', async () => {
  await withBroker(Buffer.from([0x40, 2, 0, 2]), async (port) => {
    const { code, stderr } = await generate({ ...SHAPE, port })
    assert.is(code, 1)
    assert.match(stderr, 'expected PUBACK 1, got packet type 4 with id 2')
  })
})

test('the load generator fails when a broker turns it away', async () => {
  const server = createServer((socket) => socket.end(Buffer.from([0x20, 2, 0, 5])))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  const { code, stderr } = await generate({ ...SHAPE, port: typeof address === 'object' && address ? address.port : 0 })
  assert.is(code, 1)
  assert.match(stderr, 'refused a connection')
  server.close()
})

test.run()
