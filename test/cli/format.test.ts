import { test } from 'uvu'
import * as assert from 'uvu/assert'
import {
  formatByteRate,
  formatBytes,
  formatCount,
  formatDuration,
  formatRate,
  formatRecords,
  formatTime,
} from '../../src/cli/format.js'
import { formatTable, printable } from '../../src/cli/table.js'

test('numbers are written as people read them', () => {
  for (const [bytes, text] of [
    [0, '0 B'],
    [1023, '1023 B'],
    [1024, '1 KB'],
    [1536, '1.5 KB'],
    [1_048_575, '1 MB'],
    [5e9, '4.7 GB'],
    [123_456_789, '118 MB'],
  ] as const)
    assert.is(formatBytes(bytes), text)
  for (const [ms, text] of [
    [0, '0ms'],
    [0.25, '0.3ms'],
    [250, '250ms'],
    [999.6, '1s'],
    [2500, '2.5s'],
    [59_949, '59.9s'],
    [59_999, '1m'],
    [5_025_000, '1h 23m'],
    [86_400_000, '1d'],
    [90_000_000, '1d 1h'],
    [86_460_000, '1d'],
    [-2500, '-2.5s'],
  ] as const)
    assert.is(formatDuration(ms), text)
  assert.is(formatCount(1_234_567), '1,234,567')
  assert.equal([0, 1, 1200].map(formatRecords), ['0 records', '1 record', '1,200 records'])
  assert.is(formatRate(0), '0/s')
  assert.is(formatRate(0.52), '0.5/s')
  assert.is(formatRate(15_400.2), '15,400/s')
  assert.is(formatByteRate(51_200), '50 KB/s')
  assert.is(formatTime(0), '1970-01-01 00:00:00Z')
  for (const none of [null, undefined, Number.NaN, 1e18]) assert.is(formatTime(none), '-')
})

test('columns line up, numbers to the right, what is not there as a dash', () => {
  const rows = [
    { name: 'a', count: 5, size: '1 KB' },
    { name: 'longer', count: 1234, size: '10 KB' },
    { name: null, count: undefined, size: '' },
  ]
  const text = formatTable(
    [
      { title: 'NAME', value: (row) => row.name },
      { title: 'COUNT', value: (row) => row.count },
      { title: 'SIZE', value: (row) => row.size, align: 'right' },
    ],
    rows,
  )
  assert.is(text, 'NAME    COUNT   SIZE\na           5   1 KB\nlonger   1234  10 KB\n-           -      -\n')
})

test('columns that a terminal has no room for are left out whole, never the first', () => {
  const columns = ['ONE', 'SECOND', 'III'].map((title) => ({ title, value: () => 'x' }))
  const headingAt = (width?: number) => formatTable(columns, [{}], width).split('\n')[0]
  assert.equal([undefined, 16, 15, 11, 10, 2].map(headingAt), [
    ...['ONE  SECOND  III', 'ONE  SECOND  III'],
    ...['ONE  SECOND', 'ONE  SECOND', 'ONE', 'ONE'],
  ])
})

test('a table without rows is its heading', () => {
  assert.is(formatTable([{ title: 'NAME', value: () => 1 }], []), 'NAME\n')
})

test('what devices sent cannot take over the terminal', () => {
  assert.is(printable('a\x1b[2Jb\n\u202ec\x9b'), 'a\\x1b[2Jb\\x0a\\u202ec\\x9b')
  assert.is(printable('größe/温度'), 'größe/温度')
})

test.run()
