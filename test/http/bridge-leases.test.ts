import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { BridgeLeases } from '../../src/http/bridge-leases.js'
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

test.run()
