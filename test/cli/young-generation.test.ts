import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { runProgram } from '../helpers/program.js'

const MODULE = new URL('../../src/cli/young-generation.js', import.meta.url).href

/** @returns its megabytes right after it was held, and after two million objects, some of them alive for a while. */
async function sizes(...nodeOptions: string[]): Promise<number[]> {
  const script = `
    import { holdYoungGeneration, youngGenerationMb } from '${MODULE}'
    holdYoungGeneration()
    const sizes = [youngGenerationMb()]
    let alive = []
    for (let i = 0; i < 2e6; i++) {
      alive.push({ value: i, more: [i] })
      if (alive.length > 50_000) alive = alive.slice(25_000)
    }
    console.log(JSON.stringify([...sizes, youngGenerationMb()]))`
  const { stdout } = await runProgram(process.execPath, [...nodeOptions, '--input-type=module', '-e', script])
  return JSON.parse(stdout) as number[]
}

test('the young generation stays at twice 4 MB, whatever is made', async () => {
  assert.equal(await sizes(), [8, 8])
})

test('who sets its size has that size', async () => {
  assert.is((await sizes('--max-semi-space-size=2'))[1], 4)
  const [, grown] = await sizes('--max-semi-space-size=16')
  assert.ok(grown > 8, `${grown} MB`)
})

test.run()
