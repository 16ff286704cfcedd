import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { withSeed } from '../helpers/seeded-random.js'
import { unlessSkipped } from '../helpers/skip.js'
import { tempDir } from '../helpers/temp-dir.js'
import { CLIENT_SOURCE, compile, noCompiler, testSource } from './compile.js'
import { VECTORS_PATH, type Vectors } from './vectors.js'

const withCompiler = unlessSkipped(test, noCompiler)
const vectors = JSON.parse(readFileSync(VECTORS_PATH, 'utf8')) as Vectors

function answersOf(lines: readonly string[], ...flags: readonly string[]): string[] {
  const program = join(tempDir(), 'vectors')
  compile(program, [testSource('vectors.c')], ...flags)
  const { status, signal, stdout, stderr } = spawnSync(program, { input: `${lines.join('\n')}\n`, encoding: 'utf8' })
  assert.is(status, 0, `${signal} ${stderr}`)
  return stdout.trimEnd().split('\n')
}

withCompiler('the client compiles for size without a warning and keeps to its documented memory', () => {
  const folder = tempDir()
  const object = join(folder, 'client.o')
  compile(object, [CLIENT_SOURCE], '-Os', '-c')
  const { stdout } = spawnSync('size', [object], { encoding: 'utf8' })
  const [text, data, bss] = stdout.split('\n')[1].trim().split(/\s+/).map(Number)
  assert.is(data + bss, 0, 'everything is in the struct')
  assert.ok(text < 6000, `${text} bytes of code`)
})

withCompiler('the client writes each vector as it stands', () => {
  const wires = answersOf(vectors.good.map(({ epoch, body }) => `S ${epoch} ${body}`))
  assert.equal(
    wires,
    vectors.good.map(({ wire }) => wire),
  )
})

withCompiler("the client takes each of the bridge's vectors and counts each bad one", () => {
  const good = vectors.good.filter(({ from }) => from === 'bridge')
  const counts = answersOf([...good, ...vectors.bad].map(({ epoch, wire }) => `R ${epoch} ${wire}`))
  assert.equal(counts, [...good.map(() => '0'), ...vectors.bad.map(() => '1')])
})

withCompiler('any bytes leave the client alive, with no access out of bounds', () =>
  withSeed((random) => {
    const lines = Array.from({ length: 5 }, () => `Z ${random.below(2 ** 31)} 200000`)
    const sanitizers = ['-g', '-fsanitize=address,undefined', '-fno-sanitize-recover=all', '-static-libasan']
    assert.equal(
      answersOf(lines, ...sanitizers),
      lines.map(() => 'alive'),
    )
  }),
)

test.run()
