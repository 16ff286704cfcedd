// The README says only what is true: its configurations are valid, the commands and keys it names exist.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { runSluice } from '../helpers/node-process.js'
import { tempDir } from '../helpers/temp-dir.js'

const root = join(import.meta.dirname, '..', '..', '..')
const readme = readFileSync(join(root, 'README.md'), 'utf8')

test('every configuration in the README is valid', async () => {
  const blocks = [...readme.matchAll(/```toml\n([\s\S]*?)```/g)].map((match) => match[1])
  assert.ok(blocks.length > 0)
  for (const block of blocks) {
    const path = join(tempDir(), 'sluice.toml')
    writeFileSync(path, block)
    const { code, stdout, stderr } = await runSluice(['check', '--config', path])
    assert.is(code, 0, `${block}\n${stdout}${stderr}`)
  }
})

test('every sluice command the README names exists', async () => {
  const named = new Set([...readme.matchAll(/(?:npx |`)sluice ([a-z]+)/g)].map((match) => match[1]))
  const { stdout } = await runSluice(['--help'])
  const known = [...stdout.matchAll(/^ {2}([a-z]+) {2,}/gm)].map((match) => match[1])
  assert.ok(named.size >= 6)
  assert.equal(
    [...named].filter((name) => !known.includes(name)),
    [],
  )
})

test('every npm script the README names exists', () => {
  const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { scripts: object }
  for (const [, name] of readme.matchAll(/\bnpm run ([a-z]+)/g)) assert.ok(name in scripts, name)
})

interface Schema {
  readonly default?: unknown
  readonly items?: Schema
  readonly properties?: Readonly<Record<string, Schema>>
}

test('every key and default in the table of the README is the one in force', async () => {
  const schema = JSON.parse((await runSluice(['check', '--schema'])).stdout) as Schema
  const rows = [...readme.matchAll(/^\| `([a-z._]+)` \| `([^`]*)` \|/gm)]
  assert.ok(rows.length >= 4)
  for (const [, key, value] of rows) {
    const field = key.split('.').reduce<Schema | undefined>((at, name) => (at?.items ?? at)?.properties?.[name], schema)
    assert.is([field?.default].flat().join(), value, key)
  }
})

test.run()
