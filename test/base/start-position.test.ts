import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { parseStartPosition } from '../../src/base/start-position.js'

const test = suite('start position')

test('names, offsets and times are told apart', () => {
  assert.equal(parseStartPosition('earliest'), { at: 'earliest' })
  assert.equal(parseStartPosition('latest'), { at: 'latest' })
  assert.equal(parseStartPosition('0'), { at: 'offset', offset: 0 })
  assert.equal(parseStartPosition('9007199254740991'), { at: 'offset', offset: Number.MAX_SAFE_INTEGER })
  assert.equal(parseStartPosition('@1767225600000'), { at: 'time', timestampMs: 1767225600000 })
  assert.equal(parseStartPosition('@2026-01-01T00:00:00Z'), { at: 'time', timestampMs: 1767225600000 })
  assert.equal(parseStartPosition('@2026-01-01'), { at: 'time', timestampMs: 1767225600000 })
})

test('anything else is none', () => {
  for (const text of [
    '',
    '-1',
    '1.5',
    '1e3',
    'Earliest',
    '@',
    '@soon',
    '@2026-13-01',
    '9007199254740992',
    ' 1',
    '0x10',
  ])
    assert.is(parseStartPosition(text), null, text)
})

test.run()
