// A folder of its own for whoever asks, removed when the process ends. Paths are short, because unix sockets and people like them so.

import { mkdtempSync, rmSync, statfsSync } from 'node:fs'
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

const IN_MEMORY = '/dev/shm'
/** Where containers have one, it is of 64 MB. */
const ROOM_NEEDED_BYTES = 40 * 1024 * 1024

/**
 * The same where a sync costs nothing, if there is such a place: for tests that open hundreds of logs and cut no power, whose syncs take turns
 * with all other tests' otherwise. SLUICE_TEST_ON_DISK=1 has them on the disk.
 */
export function tempDirInMemory(prefix = 'sluice-', roomNeededBytes = ROOM_NEEDED_BYTES): string {
  if (process.env['SLUICE_TEST_ON_DISK'] || freeBytes(IN_MEMORY) < roomNeededBytes) return tempDir(prefix)
  const path = mkdtempSync(join(IN_MEMORY, prefix))
  made.add(path)
  return path
}

function freeBytes(folder: string): number {
  try {
    const { bavail, bsize } = statfsSync(folder)
    return bavail * bsize
  } catch {
    return 0
  }
}

/** Removes all of them now. */
export function removeTempDirs(): void {
  for (const path of made) rmSync(path, { recursive: true, force: true, maxRetries: 3 })
  made.clear()
}
