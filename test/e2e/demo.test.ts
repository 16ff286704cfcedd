// test-run: alone, limit 180 s
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { runProgram } from '../helpers/program.js'

test('the demo ends with nothing lost and says so', async () => {
  const { code, stdout, stderr } = await runProgram(process.execPath, [
    join(import.meta.dirname, '..', '..', 'scripts', 'demo', 'main.js'),
  ])
  assert.is(code, 0, `${stdout}\n${stderr}`)
  assert.match(stdout, /^lost +0 /m)
  assert.match(stdout, /^acknowledged +[1-9]\d{3,} /m)
  assert.match(stdout, /^delivered +[1-9]\d{3,} /m)
  assert.match(stdout, 'Nothing that was acknowledged is missing.')
})

test.run()
