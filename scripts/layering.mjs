// Checks who imports whom (.dependency-cruiser.cjs; the rule is drawn in src/ARCHITECTURE.md). dependency-cruiser reads TypeScript only
// through a compiler API that TypeScript 7 does not have, and compiled output has lost the imports of types, which the rule is about as well.
// So it cruises a mirror: for each source a JavaScript file that holds nothing but its imports. An import of types only is written as
// require(), which no source here uses, so that the rule against cycles can tell it apart.
// `node scripts/layering.mjs [ROOT]`: exit 1 if a rule is broken.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

const project = join(dirname(fileURLToPath(import.meta.url)), '..')
const root = resolve(process.argv[2] ?? project)
const mirror = join(root, 'dist', '.imports')
const SOURCE = /(?<!\.d)\.(ts|mts|cts)$/

/** Yields each import of a source; relies on imports beginning a line, as the formatter writes them. */
function* importsOf(text) {
  const statements = /^(?:import|export)\s+(?:([^'"`;]*?)\s+from\s+)?'([^'\n]+)'/gm
  for (const [, clause = '', specifier] of text.matchAll(statements))
    yield { specifier, typeOnly: namesOnlyTypes(clause) }
  const code = text.replace(/^\s*(\/\/|\*|\/\*).*$/gm, '')
  for (const [, specifier] of code.matchAll(/\bimport\(\s*'([^'\n]+)'\s*[,)]/g)) yield { specifier, typeOnly: false }
  for (const [, specifier] of code.matchAll(/\brequire\(\s*'([^'\n]+)'\s*\)/g)) yield { specifier, typeOnly: false }
}

function namesOnlyTypes(clause) {
  if (/^type\s/.test(clause)) return true
  const names = /^\{([^}]*)\}$/
    .exec(clause.trim())?.[1]
    .split(',')
    .filter((name) => name.trim() !== '')
  return names !== undefined && names.length > 0 && names.every((name) => /^\s*type\s/.test(name))
}

const mirrored = (path) => path.replace(/\.([mc]?)ts$/, '.$1js')
rmSync(mirror, { recursive: true, force: true })
const folders = ['src', 'firmware-bridge', 'test', 'scripts'].filter((folder) => existsSync(join(root, folder)))
for (const folder of folders) {
  // Also where a folder has no code yet.
  mkdirSync(join(mirror, folder), { recursive: true })
  for (const entry of readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })) {
    if (!SOURCE.test(entry)) continue
    const lines = []
    for (const { specifier, typeOnly } of importsOf(readFileSync(join(root, folder, entry), 'utf8'))) {
      lines.push(typeOnly ? `require('${specifier}')` : `import '${specifier}'`)
    }
    const target = join(mirror, folder, mirrored(entry))
    mkdirSync(dirname(target), { recursive: true })
    writeFileSync(target, `${lines.join('\n')}\n`)
  }
}
const cruiser = join(project, 'node_modules', 'dependency-cruiser', 'bin', 'dependency-cruise.mjs')
const args = [cruiser, '--config', join(project, '.dependency-cruiser.cjs'), '--no-progress', ...folders]
const { status, stdout, stderr } = spawnSync(process.execPath, args, { cwd: mirror, encoding: 'utf8' })
const asSources = (output) =>
  output.replace(/\b(?:src|firmware-bridge|test|scripts)\/[\w./-]+\.([mc]?)js\b/g, (path) => {
    const source = path.replace(/\.([mc]?)js$/, '.$1ts')
    return existsSync(join(root, source)) ? source : path
  })
process.stdout.write(asSources(stdout))
process.stderr.write(stderr)
rmSync(mirror, { recursive: true, force: true })
if (status !== 0)
  console.log(`Layering is broken: ${relative(process.cwd(), join(project, 'src/ARCHITECTURE.md'))} draws the rule.`)
process.exitCode = status === 0 ? 0 : 1
