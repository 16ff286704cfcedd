// Commit first, then work: what a kill in between costs is the one record, and nothing is worked on twice.

import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { requestJson } from '../helpers/http.js'
import { NodeProcess } from '../helpers/node-process.js'
import { Program } from '../helpers/program.js'

const COMMANDS = 40
/** A consumer is killed right after the commit of each of these: at the first, in the middle of an answer, twice in a row. */
const KILLED_AT = [0, 17, 18, 31]

const NODE_KILLED_AT = 17

const CONFIG = '[[stream]]\nname = "commands"\ntopics = ["#"]\n'

test('a consumer that commits first and is killed before the work leaves that record out, and does none twice', async () => {
  const node = await NodeProcess.start({ config: CONFIG })
  const records = Array.from({ length: COMMANDS }, (_, n) => ({ topic: 'valve', value: String(n) }))
  const url = `${node.httpUrl}/v1/streams/commands/records`
  assert.is((await requestJson(url, { method: 'POST', body: { records } })).status, 200)
  const done: number[] = []
  const runUntil = async (line: RegExp, stopAt: string): Promise<void> => {
    const args = [join(import.meta.dirname, 'at-most-once.js'), node.httpUrl, 'commands', stopAt]
    const program = new Program(process.execPath, args)
    await program.waitFor(line, 'stdout')
    await program.stop('SIGKILL')
    done.push(...[...program.stdout.matchAll(/^done (\d+)$/gm)].map(([, n]) => Number(n)))
  }
  for (const n of KILLED_AT) {
    await runUntil(new RegExp(`^committed ${n}$`, 'm'), String(n))
    // The node that has answered the commit dies as well.
    if (n === NODE_KILLED_AT) await node.kill('SIGKILL').then(() => node.startAgain())
  }
  await runUntil(new RegExp(`^done ${COMMANDS - 1}$`, 'm'), '')
  const expected = records.map((_, n) => n).filter((n) => !KILLED_AT.includes(n))
  assert.equal(done, expected)
  await node.kill()
})

test.run()
