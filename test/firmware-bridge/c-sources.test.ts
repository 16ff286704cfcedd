// The C side as others build it: by another compiler, for a microcontroller, in the examples, and under a fuzzer. SLUICE_FUZZ_SECONDS=600 for longer.

import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { withSeed } from '../helpers/seeded-random.js'
import { unlessSkipped } from '../helpers/skip.js'
import { tempDir } from '../helpers/temp-dir.js'
import { AUTH_SOURCE, C_FOLDER, CLIENT_SOURCE, compile, MQTTSN_SOURCES, noCompiler, testSource } from './compile.js'
import { MQTTSN_VECTORS_PATH, type MqttSnVectors } from './mqttsn-vectors.js'
import { vectors } from './vectors.js'

const FUZZ_SECONDS = process.env['SLUICE_FUZZ_SECONDS'] ?? '1'
const PEDANTIC = ['-std=c99', '-Wall', '-Wextra', '-Werror', '-pedantic', '-Os', '-c']
const STUBS = ['-I', C_FOLDER, '-I', testSource('stubs'), '-Wall', '-Wextra', '-Werror']
const missing = (program: string) =>
  spawnSync(program, ['--version']).status === 0 ? null : `${program} is not installed`
const mqttSnVectors = JSON.parse(readFileSync(MQTTSN_VECTORS_PATH, 'utf8')) as MqttSnVectors
const withCompiler = unlessSkipped(test, noCompiler)
const folder = tempDir()
const object = join(folder, 'object.o')

function built(compiler: string, args: readonly string[]): void {
  const { status, stderr } = spawnSync(compiler, [...args, '-o', object], { encoding: 'utf8' })
  assert.is(status, 0, `${compiler} ${args.join(' ')}: ${stderr}`)
}

// gcc: serial-c and mqttsn-c.
unlessSkipped(test, missing('clang'))('clang too has nothing to say of any source, whatever is left out', () => {
  for (const flags of [[], ['-DSLUICE_AUTH=1'], ['-DSLUICE_RECEIVE_WINDOW=0']])
    built('clang', [...PEDANTIC, ...flags, CLIENT_SOURCE])
  for (const flags of [[], ['-DSLUICE_SN_AUTH=0']]) built('clang', [...PEDANTIC, ...flags, MQTTSN_SOURCES[0]])
  built('clang', [...PEDANTIC, AUTH_SOURCE])
})

withCompiler('the example for ESP-IDF compiles, against as much of ESP-IDF as it uses', () => {
  built('gcc', ['-std=gnu99', ...STUBS, '-c', join(C_FOLDER, 'examples', 'esp-idf-mqttsn', 'main', 'main.c')])
})

unlessSkipped(test, missing('g++'))(
  'the example for Arduino compiles, as C++, against as much of Arduino as it uses',
  () => {
    const sketch = join(C_FOLDER, 'examples', 'arduino-serial', 'arduino-serial.ino')
    built('g++', ['-std=c++11', ...STUBS, '-x', 'c++', '-c', sketch])
  },
)

unlessSkipped(test, missing('arm-none-eabi-gcc'))('the sizes for a microcontroller are printed, and stay small', () => {
  const { status, stdout, stderr } = spawnSync(join(C_FOLDER, 'sizes.sh'), { encoding: 'utf8' })
  assert.is(status, 0, stderr)
  const rows = [...stdout.matchAll(/^(\S.*?) {2,}(\d+) B +(\d+) B +(\d+) B$/gm)].map(([, ...cells]) => cells)
  assert.is(rows.length, 5, stdout)
  for (const [name, m0, m4, ram] of rows)
    assert.ok(Number(m0) < 6500 && Number(m4) < 6500 && Number(ram) < 1400, `${name}: ${m0} ${m4} ${ram}`)
})

/** Frames of the vectors, a file each. */
function corpus(name: string, inputs: readonly Buffer[]): string[] {
  const at = join(folder, `corpus-${name}`)
  mkdirSync(at)
  return inputs.map((bytes, i) => {
    const path = join(at, String(i))
    writeFileSync(path, bytes)
    return path
  })
}

const bytesOf = (wires: readonly { readonly wire: string }[]) => wires.map(({ wire }) => Buffer.from(wire, 'hex'))
const TARGETS = [
  ['serial', () => bytesOf([...vectors.good, ...vectors.bad])],
  [
    'mqttsn',
    () =>
      bytesOf([...mqttSnVectors.good, ...mqttSnVectors.bad])
        .filter(({ length }) => length < 256)
        .map((wire) => Buffer.concat([Buffer.of(15, wire.length), wire])),
  ],
] as const

for (const [name, inputs] of TARGETS)
  withCompiler(
    `${name}: whatever becomes of right bytes on the way, no access out of bounds and nothing undefined`,
    () =>
      withSeed((random) => {
        const program = join(folder, `fuzz-${name}`)
        const sources = [`fuzz_${name}.c`, 'standalone.c'].map((file) => join(C_FOLDER, 'fuzz', file))
        const sanitizers = ['-fsanitize=address,undefined', '-fno-sanitize-recover=all', '-static-libasan']
        compile(program, [...sources, AUTH_SOURCE], '-g', '-O1', '-DSLUICE_AUTH=1', ...sanitizers)
        const args = [FUZZ_SECONDS, String(random.below(2 ** 31)), ...corpus(name, inputs())]
        const { status, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8' })
        assert.is(status, 0, stderr)
        const ran = Number(/^(\d+) inputs$/m.exec(stdout)?.[1])
        assert.ok(ran > 256, stdout)
        if (FUZZ_SECONDS !== '1') console.log(`  ${name}: ${ran} inputs in ${FUZZ_SECONDS} s`)
      }),
  )

test.run()
