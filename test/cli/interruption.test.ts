import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Interruption } from '../../src/cli/interruption.js'
import { FakeSignals } from './cli-helper.js'

test('a command that does not ask for the signal leaves signals to the system', () => {
  const signals = new FakeSignals()
  new Interruption(signals)
  signals.interrupt()
  assert.equal(signals.exits, [])
})

test('the first signal aborts, the second ends the process with 130', () => {
  const signals = new FakeSignals()
  const { signal } = new Interruption(signals)
  assert.not(signal.aborted)
  signals.interrupt()
  assert.ok(signal.aborted)
  assert.equal(signals.exits, [])
  signals.interrupt()
  assert.equal(signals.exits, [130])
})

test('a reader that has gone ends a simple command at once and quietly', () => {
  const signals = new FakeSignals()
  new Interruption(signals).readerGone()
  assert.equal(signals.exits, [0])
})

test('a reader that has gone lets a command that cleans up do so', () => {
  const signals = new FakeSignals()
  const interruption = new Interruption(signals)
  const { signal } = interruption
  interruption.readerGone()
  assert.ok(signal.aborted)
  assert.equal(signals.exits, [])
})

test.run()
