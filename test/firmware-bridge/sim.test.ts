// The simulator as a person starts it: on pseudo terminals and over UDP, against a node of its own.

import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { runProgram } from '../helpers/program.js'
import { unlessSkipped } from '../helpers/skip.js'

const SIM = join(import.meta.dirname, '..', '..', 'firmware-bridge', 'sim', 'main.js')
const withSocat = unlessSkipped(
  test,
  spawnSync('socat', ['-V']).status === 0 && spawnSync('stty', ['--version']).status === 0
    ? null
    : 'socat is not installed',
)

const sim = (...args: string[]) => runProgram(process.execPath, [SIM, ...args])

withSocat('devices on bad lines and radios, reset now and then, lose nothing that was acknowledged', async () => {
  const harm = ['--damage', '5', '--loss', '5', '--duplicate', '5', '--reorder', '5', '--reset', '2']
  const { code, stdout, stderr } = await sim(
    '--serial',
    '2',
    '--udp',
    '3',
    '--rate',
    '40',
    '--key',
    '--for',
    '4',
    ...harm,
  )
  assert.is(code, 0, `${stdout}${stderr}`)
  const [, stored] = /^(\d+) records in the log\. Acknowledged, but missing: 0\. Twice: 0 of serial/m.exec(stdout) ?? []
  assert.ok(Number(stored) > 100, stdout)
})

test('what is asked for wrongly is named', async () => {
  assert.match((await sim('--damage', 'much')).stderr, '--damage takes a number from 0 to 100, not "much"')
  assert.match((await sim('--help')).stdout, 'npm run sim -- --serial 20')
})

test.run()
