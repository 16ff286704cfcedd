import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { silentLogger } from '../../src/base/logger.js'
import { AccessTokens } from '../../src/http/access-tokens.js'
import { LevelStateStore } from '../../src/state/state-store.js'
import { codeOf } from '../helpers/rejection.js'
import { tempDir } from '../helpers/temp-dir.js'

async function withTokens(
  work: (tokens: AccessTokens, reopen: () => Promise<AccessTokens>) => Promise<void>,
): Promise<void> {
  const directory = join(tempDir(), 'state')
  const open = () => LevelStateStore.open({ directory, logger: silentLogger, onFatal: () => {} })
  let state = await open()
  await work(await AccessTokens.open(state, () => 0), async () => {
    await state.close()
    state = await open()
    return AccessTokens.open(state, () => 0)
  })
  await state.close()
}

const bearer = (token: string) => `Bearer ${token}`

test('until there is a token this machine needs none, and nobody else gets in', () =>
  withTokens(async (tokens) => {
    tokens.authorize(undefined, true, 'admin')
    assert.is(await codeOf(async () => tokens.authorize(undefined, false, 'read')), 'UNAUTHORIZED')
  }))

test('once there is a token it is asked of everybody, also on this machine', () =>
  withTokens(async (tokens) => {
    const token = await tokens.create('ops', ['admin'])
    assert.is(await codeOf(async () => tokens.authorize(undefined, true, 'read')), 'UNAUTHORIZED')
    tokens.authorize(bearer(token), true, 'read')
    tokens.authorize(`bearer  ${token}`, false, 'admin')
  }))

test('a token is good for its scopes only, and admin for everything', () =>
  withTokens(async (tokens) => {
    await tokens.create('ops', ['admin'])
    const reader = await tokens.create('reporting', ['read'])
    tokens.authorize(bearer(reader), false, 'read')
    for (const scope of ['write', 'admin'] as const)
      assert.is(await codeOf(async () => tokens.authorize(bearer(reader), true, scope)), 'FORBIDDEN')
  }))

test('a token that differs in one character, is cut, or names another id is refused', () =>
  withTokens(async (tokens) => {
    const token = await tokens.create('ops', ['admin'])
    const other = await tokens.create('other', ['admin'])
    const last = token.endsWith('A') ? 'B' : 'A'
    const mixed = `${token.slice(0, 16)}${other.slice(16)}`
    for (const wrong of [`${token.slice(0, -1)}${last}`, token.slice(0, -1), mixed, '', 'constructor', `${token}x`])
      assert.is(await codeOf(async () => tokens.authorize(bearer(wrong), true, 'read')), 'UNAUTHORIZED', wrong)
    assert.is(await codeOf(async () => tokens.authorize(`Basic ${token}`, true, 'read')), 'UNAUTHORIZED')
  }))

test('tokens survive a restart, and what is stored does not hold them', () =>
  withTokens(async (tokens, reopen) => {
    const token = await tokens.create('ops', ['read', 'admin'])
    const again = await reopen()
    again.authorize(bearer(token), false, 'admin')
    assert.equal(again.list(), [{ name: 'ops', scopes: ['read', 'admin'], createdAtMs: 0 }])
    await again.revoke('ops')
    const third = await reopen()
    assert.ok(third.isEmpty)
    third.authorize(undefined, true, 'admin')
  }))

test('nobody can be locked out: the first token and the last while others exist are for admin', () =>
  withTokens(async (tokens) => {
    assert.is(await codeOf(() => tokens.create('reporting', ['read'])), 'INVALID_REQUEST')
    await tokens.create('ops', ['admin'])
    await tokens.create('reporting', ['read'])
    assert.is(await codeOf(() => tokens.create('ops', ['read'])), 'INVALID_REQUEST')
    assert.is(await codeOf(() => tokens.revoke('ops')), 'INVALID_REQUEST')
    assert.is(await codeOf(() => tokens.revoke('nobody')), 'NOT_FOUND')
    await tokens.revoke('reporting')
    await tokens.revoke('ops')
    assert.ok(tokens.isEmpty)
  }))

test.run()
