// A folder of its own for whoever asks, removed when the process ends. Paths are short, because unix sockets and people like them so.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const made = new Set<string>()
process.once('exit', removeTempDirs)

/** Makes an empty folder under the system's folder for temporary files. */
export function tempDir(prefix = 'sluice-'): string {
  const path = mkdtempSync(join(tmpdir(), prefix))
  made.add(path)
  return path
}

/** Removes all of them now. */
export function removeTempDirs(): void {
  for (const path of made) rmSync(path, { recursive: true, force: true, maxRetries: 3 })
  made.clear()
}
