import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { LoginThrottle } from '../../src/mqtt/login-throttle.js'
import { FakeClock } from '../helpers/fake-clock.js'

const LIMITS = { failuresPerAddress: 5, failuresPerUser: 3, secondsPerFailure: 10, maxRemembered: 100 }

test('failures of one user are slowed down from whichever address they come, and others are not', async () => {
  const clock = new FakeClock()
  const throttle = new LoginThrottle(clock, LIMITS)
  for (let i = 0; i < 3; i++) assert.ok(throttle.begin(`10.0.0.${i}`, 'ada'))
  assert.is(throttle.begin('10.0.0.9', 'ada'), null)
  assert.ok(throttle.begin('10.0.0.9', 'eve'))
  // Setting the clock helps nobody.
  clock.jumpWall(3_600_000)
  assert.is(throttle.begin('10.0.0.9', 'ada'), null)
  await clock.advance(10_000)
  assert.ok(throttle.begin('10.0.0.9', 'ada'))
  assert.is(throttle.begin('10.0.0.9', 'ada'), null)
})

test('failures from one address are slowed down whatever the user, and a success costs nothing', () => {
  const throttle = new LoginThrottle(new FakeClock(), LIMITS)
  for (let i = 0; i < 1000; i++) throttle.begin('10.0.0.1', 'ada')?.succeeded()
  for (let i = 0; i < 5; i++) assert.ok(throttle.begin('10.0.0.1', `user ${i}`))
  assert.is(throttle.begin('10.0.0.1', 'ada'), null)
  assert.ok(throttle.begin('10.0.0.2', 'ada'))
})

test('of IPv6 the network counts, not the address', () => {
  const throttle = new LoginThrottle(new FakeClock(), LIMITS)
  for (let i = 0; i < 5; i++) assert.ok(throttle.begin(`2001:db8:1:2::${i}`, `user ${i}`))
  assert.is(throttle.begin('2001:db8:1:2:ffff:1:2:3', 'ada'), null)
  assert.ok(throttle.begin('2001:db8:1:3::1', 'ada'))
  assert.ok(throttle.begin('::ffff:10.0.0.1', 'ada'))
})

test('no more are remembered than the maximum', () => {
  const throttle = new LoginThrottle(new FakeClock(), LIMITS)
  for (let i = 0; i < 10_000; i++) throttle.begin(`10.0.${i >> 8}.${i & 255}`, `user ${i}`)
  const { addresses, users } = throttle as unknown as { addresses: Map<string, unknown>; users: Map<string, unknown> }
  assert.equal([addresses.size, users.size], [100, 100])
})

test.run()
