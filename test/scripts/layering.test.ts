import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'

const project = join(import.meta.dirname, '..', '..', '..')

/** Runs the layering check over a source tree that holds these files only. */
function check(files: Readonly<Record<string, string>>): { status: number | null; output: string } {
  const root = mkdtempSync(join(tmpdir(), 'layering-'))
  try {
    for (const [path, text] of Object.entries(files)) {
      mkdirSync(dirname(join(root, path)), { recursive: true })
      writeFileSync(join(root, path), text)
    }
    symlinkSync(join(project, 'node_modules'), join(root, 'node_modules'))
    const { status, stdout } = spawnSync(process.execPath, [join(project, 'scripts', 'layering.mjs'), root], {
      encoding: 'utf8',
    })
    return { status, output: stdout }
  } finally {
    rmSync(root, { recursive: true, force: true })
  }
}

const exportOnly = 'export const a = 1\n'
const planted: readonly [rule: string, importer: string, statement: string, imported?: string][] = [
  ['base-imports-only-what-lies-below', 'src/base/x.ts', "import { a } from '../log/y.js'", 'src/log/y.ts'],
  ['config-imports-only-what-lies-below', 'src/config/x.ts', "import { a } from '../log/y.js'", 'src/log/y.ts'],
  ['record-imports-only-what-lies-below', 'src/record/x.ts', "import { a } from '../log/y.js'", 'src/log/y.ts'],
  ['state-imports-only-what-lies-below', 'src/state/x.ts', "import { a } from '../log/y.js'", 'src/log/y.ts'],
  ['log-imports-only-what-lies-below', 'src/log/x.ts', "import { a } from '../mqtt/y.js'", 'src/mqtt/y.ts'],
  ['mqtt-imports-only-what-lies-below', 'src/mqtt/x.ts', "import { a } from '../http/y.js'", 'src/http/y.ts'],
  ['consumer-imports-only-what-lies-below', 'src/consumer/x.ts', "import { a } from '../mqtt/y.js'", 'src/mqtt/y.ts'],
  [
    'replication-imports-only-what-lies-below',
    'src/replication/x.ts',
    "import { a } from '../mqtt/y.js'",
    'src/mqtt/y.ts',
  ],
  ['http-imports-only-what-lies-below', 'src/http/x.ts', "import { a } from '../consumer/y.js'", 'src/consumer/y.ts'],
  [
    'http-imports-only-what-lies-below',
    'src/http/x.ts',
    "import type { a } from '../consumer/y.js'",
    'src/consumer/y.ts',
  ],
  [
    'http-imports-only-what-lies-below',
    'src/http/x.ts',
    "const y = await import('../consumer/y.js')",
    'src/consumer/y.ts',
  ],
  ['http-imports-only-what-lies-below', 'src/http/x.ts', "export * from '../consumer/y.js'", 'src/consumer/y.ts'],
  ['client-imports-only-what-lies-below', 'src/client/x.ts', "import { a } from '../state/y.js'", 'src/state/y.ts'],
  ['below-the-cli-nobody-knows-it', 'src/node.ts', "import { a } from './cli/y.js'", 'src/cli/y.ts'],
  ['only-cli-and-index-import-node', 'src/x.ts', "import { a } from './node.js'", 'src/node.ts'],
  ['the-bridge-uses-the-public-api', 'firmware-bridge/x.ts', "import { a } from '../src/log/y.js'", 'src/log/y.ts'],
  [
    'only-serve-and-bridge-load-the-bridge',
    'src/cli/x.ts',
    "import { a } from '../../firmware-bridge/y.js'",
    'firmware-bridge/y.ts',
  ],
  ['product-knows-no-tests', 'src/cli/x.ts', "import { a } from '../../test/y.js'", 'test/y.ts'],
  ['aedes-only-where-it-belongs', 'src/http/x.ts', "import { Aedes } from 'aedes'"],
  ['level-only-where-it-belongs', 'src/consumer/x.ts', "import { Level } from 'level'"],
  ['level-only-where-it-belongs', 'src/consumer/x.ts', "import type { Level } from 'classic-level'"],
  ['mqtt.js-only-where-it-belongs', 'src/mqtt/x.ts', "import { connect } from 'mqtt'"],
  ['cbor-x-only-where-it-belongs', 'src/http/x.ts', "import {\n  Encoder,\n  Decoder,\n} from 'cbor-x'"],
  ['no-orphans-in-src', 'src/base/x.ts', 'const b = 1'],
]

// One tree holds all of them, each under names of its own: a run takes half a second.
const own = (path: string, index: number) => path.replace(/\b([xy])\.ts$/, `$1${index}.ts`)
const tree: Record<string, string> = {}
for (const [index, [, importer, statement, imported]] of planted.entries()) {
  tree[own(importer, index)] = `${statement.replace('/y.js', `/y${index}.js`)}\nexport const x = 1\n`
  if (imported !== undefined) tree[own(imported, index)] ??= exportOnly
}
const whole = check(tree)

for (const [index, [rule, importer, statement]] of planted.entries()) {
  test(`the rule ${rule} stops "${statement.replaceAll('\n', ' ')}" in ${importer}`, () => {
    assert.is(whole.status, 1)
    assert.match(whole.output, `error ${rule}: ${own(importer, index)}`)
  })
}

test('a circle of imports is refused', () => {
  const { status, output } = check({
    'src/base/x.ts': "import { y } from './y.js'\nexport const x = 1\n",
    'src/base/y.ts': "import { x } from './x.js'\nexport const y = 1\n",
  })
  assert.is(status, 1)
  assert.match(output, 'error no-cycles: src/base/x.ts')
})

test('a circle closed by types alone is allowed', () => {
  const { status, output } = check({
    'src/base/x.ts': "import { type B, y } from './y.js'\nexport type A = 1\n",
    'src/base/y.ts': "import { type A } from './x.js'\nexport const y = 1\n",
  })
  assert.is(status, 0, output)
})

test('imports that point downwards are allowed, and comments are no imports', () => {
  const { status, output } = check({
    'src/cli/serve.ts': "import { node } from '../node.js'\nimport { b } from '../../firmware-bridge/b.js'\n",
    'src/node.ts': "import { m } from './mqtt/m.js'\nexport const node = 1\n",
    'src/mqtt/m.ts':
      "// import { h } from '../http/h.js'\nimport { Aedes } from 'aedes'\nimport { l } from '../log/l.js'\n",
    'src/log/l.ts': "import { Level } from 'level'\nexport const l = 1\n",
    'firmware-bridge/b.ts': "import { i } from '../src/index.js'\nimport mqtt from 'mqtt'\n",
    'src/index.ts': "export { node } from './node.js'\n",
  })
  assert.is(status, 0, output)
})

test.run()
