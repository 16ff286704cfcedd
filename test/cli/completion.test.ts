import { execFileSync } from 'node:child_process'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { findProgram } from '../helpers/mosquitto.js'
import { unlessSkipped } from '../helpers/skip.js'
import { fakeNode, runCli } from './cli-helper.js'

const withBash = unlessSkipped(test, findProgram('bash') === null ? 'bash is not installed' : null)

/** What bash offers after these words, the last of them begun. */
async function offered(...words: readonly string[]): Promise<string[]> {
  const { stdout: script } = await runCli(['completion', 'bash'])
  const line = words.map((word) => `'${word}'`).join(' ')
  const ask = `COMP_WORDS=(${line}); COMP_CWORD=${words.length - 1}; _sluice; printf '%s\\n' "\${COMPREPLY[@]}"`
  const answer = execFileSync('bash', ['-c', `${script}\n${ask}`], { encoding: 'utf8' })
  return answer.split('\n').filter((word) => word !== '')
}

withBash('bash completes commands, options and what follows a command', async () => {
  assert.equal(await offered('sluice', 'con'), ['consume'])
  assert.equal(await offered('sluice', 'help', 'stre'), ['streams'])
  assert.ok((await offered('sluice', 'consume', 'x', '--fo')).includes('--follow'))
  assert.equal(await offered('sluice', 'groups', 'g', '--to-e'), ['--to-earliest'])
  assert.equal(await offered('sluice', 'tokens', 'c'), ['create'])
})

withBash('names come from what the program itself says of its node', async () => {
  const script = (await runCli(['completion', 'bash'])).stdout
  const fake = 'sluice() { [ "$1 $2" = "streams --json" ] && printf \'{"name":"telemetry"}\\n{"name":"alarms"}\\n\'; }'
  const ask = `COMP_WORDS=(sluice consume te); COMP_CWORD=2; _sluice; printf '%s\\n' "\${COMPREPLY[@]}"`
  assert.is(execFileSync('bash', ['-c', `${fake}\n${script}\n${ask}`], { encoding: 'utf8' }), 'telemetry\n')
})

test('another shell is refused, and no node is asked', async () => {
  const node = await fakeNode(200, {})
  const { code, stderr } = await runCli(['completion', 'fish', '--url', node.url])
  assert.is(code, 2)
  assert.match(stderr, /bash only/)
  assert.is(node.requests.length, 0)
  await node.close()
})

test.run()
