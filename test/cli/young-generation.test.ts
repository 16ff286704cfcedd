import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { runProgram } from '../helpers/program.js'

const MODULE = new URL('../../src/cli/young-generation.cjs', import.meta.url).href

/** @returns its megabytes after two million objects, some of them alive for a while. */
async function sizeWith(...nodeOptions: string[]): Promise<number> {
  const script = `
    import { getHeapSpaceStatistics } from 'node:v8'
    import young from '${MODULE}'
    young.holdYoungGeneration()
    let alive = []
    for (let i = 0; i < 2e6; i++) {
      alive.push({ value: i, more: [i] })
      if (alive.length > 50_000) alive = alive.slice(25_000)
    }
    console.log(getHeapSpaceStatistics().find(({ space_name }) => space_name === 'new_space').space_size / 1024 / 1024)`
  const { stdout } = await runProgram(process.execPath, [...nodeOptions, '--input-type=module', '-e', script])
  return Number(stdout)
}

test('the young generation stays at twice 1 MB, whatever is made', async () => {
  const size = await sizeWith()
  assert.ok(size <= 2, `${size} MB`)
})

test('who sets its size has that size', async () => {
  assert.is(await sizeWith('--max-semi-space-size=2'), 4)
  const grown = await sizeWith('--max-semi-space-size=16')
  assert.ok(grown > 8, `${grown} MB`)
})

test.run()
