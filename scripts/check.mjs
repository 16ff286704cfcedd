// Everything a change must pass: types, format and lint, layering, dead code, tests. Runs all of them even when one fails, and names the command
// that runs the failing one alone. `--no-tests` leaves the tests out (.ci/run calls them by `npm test`). Plain JavaScript: it must say what is
// wrong with a checkout that does not compile.
import { spawnSync } from 'node:child_process'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const bin = (packageName, path) => join('node_modules', packageName, path)
const checks = [
  ['build', 'scripts/ensure-built.mjs'],
  ['types', bin('typescript', 'bin/tsc'), '-p', '.', '--noEmit'],
  ['format and lint', bin('@biomejs/biome', 'bin/biome'), 'check', '--error-on-warnings', '.'],
  ['layering', 'scripts/layering.mjs'],
  ['dead code', bin('knip', 'bin/knip.js'), '--no-progress'],
]

const failed = []
for (const [name, ...args] of checks) {
  const startedAt = performance.now()
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { cwd: root, encoding: 'utf8' })
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1)
  console.log(`${status === 0 ? 'ok    ' : 'FAILED'}  ${name}  ${seconds} s`)
  if (status === 0) continue
  failed.push(name)
  console.log(`${stdout}${stderr}\nRun it alone: node ${args.join(' ')}\n`)
  if (name === 'build') break
}
if (!process.argv.includes('--no-tests') && failed[0] !== 'build') {
  const { status } = spawnSync(process.execPath, [join('dist', 'scripts', 'test.js')], { cwd: root, stdio: 'inherit' })
  if (status !== 0) failed.push('tests')
}
if (failed.length > 0) console.log(`Failed checks: ${failed.join(', ')}`)
process.exitCode = failed.length === 0 ? 0 : 1
