import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { BridgeLeases, MAX_LEASES } from '../../src/http/bridge-leases.js'
import type { HttpRequest } from '../../src/http/route.js'
import { type BridgeDependencies, bridgeRoutes } from '../../src/http/routes/bridges.js'
import { FakeClock } from '../helpers/fake-clock.js'
import { codeOf } from '../helpers/rejection.js'

const closed = (connection: { once(event: 'close', then: () => void): unknown }) =>
  new Promise<void>((resolve) => connection.once('close', resolve))

test('a name is held while its process is heard, and may be taken once it has been silent', async () => {
  const clock = new FakeClock()
  const leases = new BridgeLeases(clock)
  const first = leases.take('shed', 'a')
  await clock.advance(14_000)
  first.write('pulse')
  await clock.advance(14_000)
  assert.is(await codeOf(() => leases.take('shed', 'b')), 'FENCED_INSTANCE_ID')
  assert.is(await codeOf(() => leases.check('shed', 'b')), 'FENCED_INSTANCE_ID')
  leases.check('shed', 'a')
  await clock.advance(2000)
  const second = leases.take('shed', 'b')
  await closed(first)
  assert.is(await codeOf(() => leases.check('shed', 'a')), 'FENCED_INSTANCE_ID')
  second.end()
  await closed(second)
  leases.check('shed', 'a')
})

test('a process that connects again before its first connection is known to be gone keeps its name', async () => {
  const leases = new BridgeLeases(new FakeClock())
  const first = leases.take('shed', 'a')
  leases.take('shed', 'a')
  await closed(first)
  assert.is(await codeOf(() => leases.check('shed', 'b')), 'FENCED_INSTANCE_ID')
})

test('a pulse comes back, and nothing gathers for whoever does not read', async () => {
  const connection = new BridgeLeases(new FakeClock()).take('shed', 'a')
  for (let i = 0; i < 100; i++) connection.write(Buffer.alloc(1000))
  assert.is(connection.readableLength, 1000)
  assert.is((connection.read() as Buffer).length, 1000)
})

test('a request whose body comes after another process has got the name is not heard', async () => {
  const clock = new FakeClock()
  const leases = new BridgeLeases(clock)
  leases.take('shed', 'a')
  const routes = bridgeRoutes({ leases, devices: { take() {} } } as unknown as BridgeDependencies)
  const posts = routes.filter(({ method }) => method === 'POST')
  assert.is(posts.length, 4)
  for (const { handle, pattern } of posts) {
    const request = {
      params: { bridge: 'shed', table: 't' },
      query: new Map([['run', 'a']]),
      async json() {
        await clock.advance(16_000)
        leases.take('shed', 'b')
        return {}
      },
    }
    const answer = Promise.resolve(handle(request as unknown as HttpRequest))
    assert.is(await codeOf(answer), 'FENCED_INSTANCE_ID', pattern)
    await clock.advance(16_000)
    leases.take('shed', 'a')
  }
})

test('as many bridges are connected as may be; one more is refused, until one has gone', async () => {
  const leases = new BridgeLeases(new FakeClock())
  const first = leases.take('0', 'a')
  for (let i = 1; i < MAX_LEASES; i++) leases.take(`${i}`, 'a')
  assert.is(await codeOf(() => leases.take('more', 'a')), 'TOO_MANY_REQUESTS')
  leases.take('1', 'a')
  first.end()
  await closed(first)
  leases.take('more', 'a')
})

test.run()
