// File operations that are on disk when they return: what they create or rename survives a power cut because the directory is
// synced as well.

import { randomBytes } from 'node:crypto'
import { constants } from 'node:fs'
import { mkdir, open, readdir, rename, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { storageError } from './level-database.js'

/** Makes what was created, renamed or unlinked in a directory durable. */
export async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, constants.O_RDONLY | constants.O_DIRECTORY)
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** Creates a directory and its parents; durable when it resolves. */
export async function makeDirectory(directory: string): Promise<void> {
  try {
    const first = await mkdir(directory, { recursive: true })
    if (first !== undefined) await syncDirectory(dirname(first))
  } catch (error) {
    throw storageError(error, `the directory ${directory} cannot be made`)
  }
}

/** Writes a file wholly or not at all. */
export async function writeFileDurably(path: string, bytes: Uint8Array): Promise<void> {
  const directory = dirname(path)
  const temporary = join(directory, `${basename(path)}.${randomBytes(4).toString('hex')}.tmp`)
  try {
    const handle = await open(temporary, 'wx', 0o644)
    try {
      await handle.writeFile(bytes)
      await handle.sync()
    } finally {
      await handle.close()
    }
    await rename(temporary, path)
    await syncDirectory(directory)
  } catch (error) {
    await rm(temporary, { force: true })
    throw storageError(error, `the file ${path} cannot be written`)
  }
}

/** Names of the directory's entries; none if it does not exist. */
export async function listDirectory(directory: string): Promise<string[]> {
  try {
    return (await readdir(directory)).sort()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw storageError(error, `the directory ${directory} cannot be read`)
  }
}
