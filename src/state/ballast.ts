// Disk space held in reserve (D4). On a full disk even reading needs a little room, because opening a LevelDB writes, and so do ledger rows,
// cursors and deletes. The file is given up when the disk fills and made again once there is plenty.

import { open, rename, rm, stat, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { SluiceError } from '../base/errors.js'

const CHUNK = Buffer.alloc(64 * 1024)
/** The ballast is made only when so many times its size is free, unless told otherwise. */
const PLENTY = 8

export class Ballast {
  private readonly path: string
  private held = false
  private making: Promise<void> | null = null

  /** @param bytes 0: no ballast is kept. */
  constructor(
    private readonly directory: string,
    readonly bytes: number,
  ) {
    this.path = join(directory, 'ballast')
  }

  /** Makes the file if it is missing and `spareBytes` stay free beside it. Never rejects: a node runs without ballast if it must. */
  restore(spareBytes = this.bytes * (PLENTY - 1)): Promise<void> {
    if (this.held || this.bytes === 0) return Promise.resolve()
    this.making ??= this.make(spareBytes)
      .catch(() => {})
      .finally(() => {
        this.making = null
      })
    return this.making
  }

  /** Resolves when the file is not being made. */
  settled(): Promise<void> {
    return this.making ?? Promise.resolve()
  }

  /** Gives the space up; it is free when this resolves. Never rejects: a disk that removes nothing gives no room either. */
  async release(): Promise<void> {
    await this.making
    this.held = false
    await rm(this.path, { force: true }).catch(() => {})
  }

  /** Opens something that needs a little room: tries again without the ballast where the disk is full. */
  async withRoom<T>(open: () => Promise<T>): Promise<T> {
    try {
      return await open()
    } catch (error) {
      if (!(error instanceof SluiceError) || error.code !== 'STORAGE_FULL') throw error
      await this.release()
      return open()
    }
  }

  private async make(spareBytes: number): Promise<void> {
    const found = await stat(this.path).catch(() => null)
    if (found?.size !== this.bytes) {
      const { bavail, bsize } = await statfs(this.directory)
      if (bavail * bsize < this.bytes + spareBytes) return
      await this.write(`${this.path}.tmp`)
      await rename(`${this.path}.tmp`, this.path)
    }
    this.held = true
  }

  private async write(path: string): Promise<void> {
    const handle = await open(path, 'w')
    try {
      // Written, not just extended: a hole in a file holds no space.
      for (let left = this.bytes; left > 0; left -= CHUNK.length)
        await handle.write(CHUNK.subarray(0, Math.min(left, CHUNK.length)))
    } catch (error) {
      await rm(path, { force: true })
      throw error
    } finally {
      await handle.close()
    }
  }
}
