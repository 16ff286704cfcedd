import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { runSluice } from '../helpers/node-process.js'
import { Program } from '../helpers/program.js'
import { tempDir } from '../helpers/temp-dir.js'
import { runCli } from './cli-helper.js'

const SLUICE = join(import.meta.dirname, '..', '..', 'src', 'cli', 'sluice.cjs')

interface Report {
  readonly payload_bytes: number
  readonly workloads: readonly {
    readonly name: string
    readonly messages: number
    readonly ack_ms: { p50: number; p99: number; max: number } | null
  }[]
}

test('every workload is measured on the disk of the data directory, and nothing is left there', async () => {
  const folder = tempDir()
  const { code, stdout, stderr } = await runSluice(
    ['bench', '--data', join(folder, 'data'), '--seconds', '1', '--size', '50', '--json'],
    {},
  )
  assert.is(code, 0, stderr)
  const { payload_bytes, workloads } = JSON.parse(stdout) as Report
  assert.is(payload_bytes, 50)
  assert.is(workloads.length, 6)
  for (const { name, messages, ack_ms } of workloads) {
    assert.ok(messages > 0, name)
    assert.is(ack_ms !== null, name.startsWith('QoS 1'), name)
    if (ack_ms !== null) assert.ok(0 < ack_ms.p50 && ack_ms.p50 <= ack_ms.p99 && ack_ms.p99 <= ack_ms.max, name)
  }
  assert.equal(readdirSync(folder), [])
})

test('interrupted, it ends its node and leaves nothing behind', async () => {
  const folder = tempDir()
  const program = new Program(process.execPath, [SLUICE, 'bench', '--data', join(folder, 'data'), '--seconds', '600'])
  await program.waitFor(/fdatasync of 4 KB/)
  while (readdirSync(folder).length === 0) await new Promise((resolve) => setImmediate(resolve))
  assert.is((await program.stop('SIGINT')).code, 1)
  assert.match(program.stderr, /interrupted/)
  assert.equal(readdirSync(folder), [])
})

test('what cannot be measured is refused', async () => {
  for (const [option, value] of [
    ['--seconds', '0'],
    ['--size', '131073'],
  ]) {
    const { code, stderr } = await runCli(['bench', option, value])
    assert.is(code, 2)
    assert.match(stderr, new RegExp(`${option} takes a whole number`))
  }
})

test.run()
