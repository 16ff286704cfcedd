import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { TomlLines } from '../../src/config/toml-lines.js'

const TOML = `a = 1
# b = 2
text = """
c = 3
[d]
"""
[mqtt] # comment
listen = [
  "x",
]
"quoted" . 'key' = 1
[[stream]]
name = "one"
[[stream]]
name = "two"
retention = { max_bytes = "1GB" }
[[stream]]
name = "three"
[stream.retention]
max_age = "7d"
[x.y]
z.w = 1
`
const LINES: readonly [path: (string | number)[], line: number | null][] = [
  [['a'], 1],
  [['b'], null],
  [['c'], null],
  [['d'], null],
  [['mqtt'], 7],
  [['mqtt', 'listen'], 8],
  [['mqtt', 'quoted', 'key'], 11],
  [['stream'], 12],
  [['stream', 0, 'name'], 13],
  [['stream', 1], 14],
  [['stream', 1, 'name'], 15],
  [['stream', 1, 'retention', 'max_bytes'], 16],
  [['stream', 1, 'topics'], 14],
  [['stream', 2, 'retention', 'max_age'], 20],
  [['x'], 21],
  [['x', 'y', 'z', 'w'], 22],
]

test('each key is found in its line; what the document lacks, in the line of the table it would be in', () => {
  const lines = new TomlLines(TOML)
  for (const [path, line] of LINES) assert.is(lines.lineOf(path), line, path.join('.'))
})

test.run()
