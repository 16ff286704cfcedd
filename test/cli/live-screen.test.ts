import { PassThrough } from 'node:stream'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { LiveScreen } from '../../src/cli/live-screen.js'
import { Output } from '../../src/cli/output.js'
import { drainLine, type Upstream } from '../../src/cli/upstream-view.js'

function terminal(tty: { isTTY?: boolean; columns?: number; rows?: number }) {
  const stream = new PassThrough()
  let text = ''
  stream.on('data', (chunk) => (text += chunk))
  return { screen: new LiveScreen(new Output(Object.assign(stream, tty))), written: () => text }
}

test('a terminal is given a screen of its own, drawn in place and cut to its size, and has its own back at the end', async () => {
  const { screen, written } = terminal({ isTTY: true, columns: 10, rows: 4 })
  await screen.draw(['a line that is too long', 'b', 'c', 'd', 'e'])
  await screen.draw(['x'])
  await screen.leave()
  await screen.leave()
  const expected = [
    '\x1b[?1049h\x1b[?25l\x1b[Ha line tha\x1b[K\nb\x1b[K\nc\x1b[K\n\x1b[J',
    '\x1b[Hx\x1b[K\n\x1b[J',
    '\x1b[?25h\x1b[?1049l',
  ]
  assert.is(written(), expected.join(''))
})

test('a sentence goes over as many lines of a terminal as it takes, between words', () => {
  const sentence = 'the broker closed the connection; next attempt in 5s'
  const wrap = (columns: number) => terminal({ isTTY: true, columns, rows: 4 }).screen.wrap(sentence)
  assert.equal(wrap(80), [sentence])
  assert.equal(wrap(20), ['the broker closed', '  the connection;', '  next attempt in 5s'])
  assert.equal(wrap(5)[4], '  connection;', 'a word that is longer than a line has one of its own')
  assert.equal(terminal({ columns: 20 }).screen.wrap(sentence), [sentence])
})

test('where there is no terminal the pictures follow one another, whole', async () => {
  const { screen, written } = terminal({})
  await screen.draw(['a line that is long', 'b'])
  await screen.draw(['c'])
  await screen.leave()
  assert.is(written(), 'a line that is long\nb\n\nc\n\n')
})

test('a bar shows how much of the largest backlog is gone', () => {
  const upstream = { name: 'cloud', backlog_records: 250, drain_forecast_ms: 2500 } as Upstream
  assert.is(drainLine(upstream, 1000), '[###############.....]  75%  cloud: 250 of 1,000 records wait, 2.5s left')
  assert.is(drainLine(upstream, 0), null)
  assert.match(
    drainLine({ ...upstream, connected: true, drain_forecast_ms: null }, 300) ?? '',
    /, more comes than goes$/,
  )
  assert.match(drainLine({ ...upstream, drain_forecast_ms: null }, 300) ?? '', /, not connected$/)
})

test.run()
