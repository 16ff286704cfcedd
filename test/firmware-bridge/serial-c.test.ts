import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { withSeed } from '../helpers/seeded-random.js'
import { unlessSkipped } from '../helpers/skip.js'
import { tempDir } from '../helpers/temp-dir.js'
import { AUTH_SOURCE, CLIENT_SOURCE, compile, noCompiler, testSource } from './compile.js'
import { authVectors, vectors } from './vectors.js'

const withCompiler = unlessSkipped(test, noCompiler)

function answersOf(lines: readonly string[], ...flags: readonly string[]): string[] {
  const program = join(tempDir(), 'vectors')
  compile(program, [testSource('vectors.c'), AUTH_SOURCE], ...flags)
  const { status, signal, stdout, stderr } = spawnSync(program, { input: `${lines.join('\n')}\n`, encoding: 'utf8' })
  assert.is(status, 0, `${signal} ${stderr}`)
  return stdout.trimEnd().split('\n')
}

/** Every way in which a device may leave things out. */
const VARIANTS = [
  [],
  ['-DSLUICE_AUTH=1'],
  ['-DSLUICE_RECEIVE_WINDOW=0'],
  ['-DSLUICE_RECEIVE_WINDOW=0', '-DSLUICE_AUTH=1'],
]

withCompiler(
  'the client compiles for size without a warning, whatever is left out, and keeps to its documented memory',
  () => {
    const folder = tempDir()
    const object = join(folder, 'client.o')
    for (const flags of VARIANTS) {
      compile(object, [CLIENT_SOURCE], '-Os', '-c', ...flags)
      const { stdout } = spawnSync('size', [object], { encoding: 'utf8' })
      const [text, data, bss] = stdout.split('\n')[1].trim().split(/\s+/).map(Number)
      assert.is(data + bss, 0, 'everything is in the struct')
      assert.ok(text < 7000, `${text} bytes of code`)
    }
  },
)

withCompiler('the client writes each vector as it stands', () => {
  const wires = answersOf(
    vectors.good.map(({ epoch, key = '-', counter = 1, body }) => `S ${epoch} ${key} ${counter} ${body}`),
  )
  // What a vector of the bridge is sealed with, a device does not seal with.
  const own = vectors.good.flatMap(({ from, key, wire }, i) => (key && from === 'bridge' ? [] : [[wires[i], wire]]))
  for (const [written, wire] of own) assert.is(written, wire)
})

withCompiler("the client takes each of the bridge's vectors and counts each bad one", () => {
  const good = vectors.good.filter(({ from, name }) => from === 'bridge' && name !== 'welcome with a proof')
  const bad = vectors.bad.filter(({ from }) => from === 'bridge')
  assert.ok(bad.length > 25)
  const counts = answersOf([...good, ...bad].map(({ epoch, key = '-', wire }) => `R ${epoch} ${key} ${wire}`))
  assert.equal(
    [...good, ...bad].map(({ name }, i) => `${name}: ${counts[i]}`),
    [...good.map(({ name }) => `${name}: 0`), ...bad.map(({ name }) => `${name}: 1`)],
  )
})

withCompiler('both sides of a handshake come to the same key', () => {
  const { key, deviceNonce, welcome, hello, sessionKey, firstPublish } = vectors.handshake
  const [answer] = answersOf([`H ${key} ${deviceNonce} ${welcome}`])
  const [told, derived, publish] = answer.split(' ')
  // A delimiter goes first, in case half a frame is on the line.
  assert.equal([told, derived, publish], [`00${hello}`, sessionKey, firstPublish])
  const other = answersOf([`H ${key} ${'00'.repeat(8)} ${welcome}`])[0].split(' ')
  assert.not.equal(other[1], sessionKey, 'a welcome that answers another hello is none')
  assert.is(other.length, 2, 'and nothing is published')
})

withCompiler('the client computes HMAC-SHA-256', () => {
  const macs = answersOf(authVectors.map(({ key, data }) => `M ${key} ${data || '-'}`))
  assert.equal(
    macs,
    authVectors.map(({ hmac }) => hmac),
  )
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
