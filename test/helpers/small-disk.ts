// A disk of a few megabytes (tmpfs): a real one that really fills. Needs root; `available` is false elsewhere.

import { spawnSync } from 'node:child_process'
import { rmSync } from 'node:fs'
import { open, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { tempDir } from './temp-dir.js'

const mounted = new Set<string>()
// Before the folder it is mounted on is removed.
process.prependOnceListener('exit', () => {
  for (const path of mounted) spawnSync('umount', ['-l', path])
})

export class SmallDisk {
  private constructor(readonly path: string) {}

  /** @returns null where mounting is not allowed. */
  static make(megabytes: number): SmallDisk | null {
    const path = tempDir('sluice-disk-')
    const { status } = spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m`, 'tmpfs', path], {
      stdio: 'ignore',
    })
    if (status !== 0) return null
    mounted.add(path)
    return new SmallDisk(path)
  }

  /** Takes space away. */
  fill(bytes: number): Promise<void> {
    return writeFile(join(this.path, 'filler'), Buffer.alloc(bytes))
  }

  /** Takes all that is left. */
  async fillUp(): Promise<void> {
    const filler = await open(join(this.path, 'filler'), 'w')
    const bytes = Buffer.alloc(1 << 20)
    try {
      // The last one takes what there is, and is short.
      for (;;) await filler.write(bytes)
    } catch {
      // No space left: that was the aim.
    } finally {
      await filler.close()
    }
  }

  /** Gives it back. */
  free(): void {
    rmSync(join(this.path, 'filler'))
  }

  remount(mode: 'ro' | 'rw'): void {
    spawnSync('mount', ['-o', `remount,${mode}`, this.path])
  }

  remove(): void {
    spawnSync('umount', ['-l', this.path])
    mounted.delete(this.path)
  }
}
