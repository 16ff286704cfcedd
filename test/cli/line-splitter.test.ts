import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { linesOf } from '../../src/cli/line-splitter.js'
import { codeOf } from '../helpers/rejection.js'

const test = suite('line splitter')

async function* chunks(...parts: (string | Buffer)[]) {
  for (const part of parts) yield typeof part === 'string' ? Buffer.from(part) : part
}

async function split(source: AsyncIterable<Buffer>, max = 1000): Promise<string[]> {
  const lines: string[] = []
  for await (const some of linesOf(source, max)) lines.push(...some.map((line) => line.toString('latin1')))
  return lines
}

test('lines are found wherever the chunks are cut', async () => {
  const text = 'one\r\ntwo\n\nthree\rx\nlast'
  for (let cut = 0; cut <= text.length; cut++)
    assert.equal(await split(chunks(text.slice(0, cut), text.slice(cut))), ['one', 'two', '', 'three\rx', 'last'])
})

test('a line is handed on as soon as it is whole', async () => {
  const lines = linesOf(chunks('a\nb', 'c\n'), 10)
  assert.equal((await lines.next()).value?.map(String), ['a'])
  assert.equal((await lines.next()).value?.map(String), ['bc'])
})

test('bytes that are not text pass unchanged', async () => {
  assert.equal(await split(chunks(Buffer.from([255, 0, 10, 254]))), ['\u00ff\u0000', '\u00fe'])
})

test('a line without an end is an error, not memory', async () => {
  assert.equal(await split(chunks('x'.repeat(10)), 10), ['x'.repeat(10)])
  assert.is(await codeOf(split(chunks('x'.repeat(11)), 10)), 'RECORD_TOO_LARGE')
})

test.run()
