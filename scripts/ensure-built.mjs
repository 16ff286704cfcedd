// Makes a fresh checkout runnable: installs what package-lock.json names when that file has changed since the last install, and compiles
// when a source file is newer than the last build. Plain JavaScript on Node's own modules, because it runs before anything
// is installed. Called by the pre-scripts of package.json; `--force` (npm run build) compiles in any case.
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const stamp = join(root, 'dist', '.built')
const modifiedMs = (path) => statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0

function run(what, command, args) {
  process.stderr.write(`${what} …\n`)
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: ['ignore', 2, 2] })
  if (status === 0) return
  process.stderr.write(`${what} failed${error ? `: ${error.message}` : ''}. Command: ${command} ${args.join(' ')}\n`)
  process.exit(1)
}

function newestSourceMs(folder) {
  let newest = 0
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) newest = Math.max(newest, newestSourceMs(path))
    else if (/\.(ts|cts|mts|html|css|svg)$/.test(entry.name)) newest = Math.max(newest, modifiedMs(path))
  }
  return newest
}

const lock = join(root, 'package-lock.json')
const lockHash = createHash('sha256').update(readFileSync(lock)).digest('hex')
const installed = join(root, 'node_modules', '.installed-lock-hash')
if (!existsSync(installed) || readFileSync(installed, 'utf8') !== lockHash) {
  // Not `npm ci`: it refuses a lock file that does not list the optional binaries of every other platform, and registries that mirror a part of
  // them leave them out. This installs the versions the lock file names as well, and leaves the file alone.
  run('Installing dependencies', 'npm', ['install', '--no-save', '--no-audit', '--no-fund', '--loglevel=error'])
  writeFileSync(installed, lockHash)
}

const sources = ['src', 'firmware-bridge', 'test', 'scripts'].map((name) => join(root, name)).filter(existsSync)
const newest = Math.max(...sources.map(newestSourceMs), modifiedMs(join(root, 'tsconfig.json')), modifiedMs(lock))
if (process.argv.includes('--force') || modifiedMs(stamp) < newest) {
  const startedAt = new Date()
  run('Compiling', process.execPath, [join(root, 'node_modules', 'typescript', 'bin', 'tsc'), '-p', root])
  writeFileSync(stamp, `${startedAt.toISOString()}\n`)
}
