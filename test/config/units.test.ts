import { test } from 'uvu'
import * as assert from 'uvu/assert'
import {
  BYTE_RATE_PATTERN,
  BYTES_PATTERN,
  DURATION_PATTERN,
  formatSize,
  parseByteRate,
  parseBytes,
  parseDuration,
} from '../../src/config/units.js'

const SIZES: readonly [text: string, bytes: number][] = [
  ['0', 0],
  ['512', 512],
  ['64KB', 65_536],
  ['64 kb', 65_536],
  ['64KiB', 65_536],
  ['1.5MB', 1_572_864],
  ['2GB', 2_147_483_648],
  ['1T', 1_099_511_627_776],
]
const DURATIONS: readonly [text: string, ms: number][] = [
  ['500ms', 500],
  ['0.5s', 500],
  ['7d', 604_800_000],
  ['2w', 1_209_600_000],
  ['1h30m', 5_400_000],
  ['1h 30m', 5_400_000],
]

test('sizes are read in powers of 1024', () => {
  for (const [text, bytes] of SIZES) assert.is(parseBytes(text), bytes, text)
})

test('durations are read to milliseconds, also in several parts', () => {
  for (const [text, ms] of DURATIONS) assert.is(parseDuration(text), ms, text)
})

test('rates are bytes a second, and need their /s', () => {
  assert.is(parseByteRate('50KB/s'), 51_200)
  assert.is(parseByteRate('1.5 MB/s'), 1_572_864)
  for (const text of ['50KB', '50kbit/s', '50KB/m', '50/s', 'fast']) assert.is(parseByteRate(text), null, text)
})

test('what is no size or duration is not guessed', () => {
  for (const text of ['', 'KB', '12X', '-1KB', '1e3', '1,5MB', '64KBs', 'Infinity', '0x10'])
    assert.is(parseBytes(text), null, text)
  for (const text of ['', '7', 'd', '7 days', '-7d', '1h-30m', '7dd']) assert.is(parseDuration(text), null, text)
})

test('the patterns of the JSON Schema accept what the parsers accept, and nothing else', () => {
  const texts = [...SIZES, ...DURATIONS].map(([text]) => text)
  for (const text of [
    ...texts,
    '50KB/s',
    '1 MB/s',
    '12X',
    '7',
    '',
    '7 days',
    '1e3',
    '64 kb',
    '50KB',
    '-1KB',
    'KB/s',
    '5 s',
  ]) {
    assert.is(new RegExp(BYTES_PATTERN).test(text), parseBytes(text) !== null, `size ${text}`)
    assert.is(new RegExp(DURATION_PATTERN).test(text), parseDuration(text) !== null, `duration ${text}`)
    assert.is(new RegExp(BYTE_RATE_PATTERN).test(text), parseByteRate(text) !== null, `rate ${text}`)
  }
})

test('sizes are written as short as they can be without losing a byte', () => {
  for (const [bytes, text] of [
    [65_536, '64KB'],
    [65_537, '65537B'],
    [1024 ** 3, '1GB'],
    [0, '0B'],
  ] as const)
    assert.is(formatSize(bytes), text)
})

test.run()
