// Where directories go that could not be read: out of the way of the node, and kept for a person who wants to look into them. All that is known to be
// lost with them is in the ledger, so the oldest make room for those that come.

import { readdir, rename, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { messageOf } from '../base/errors.js'
import type { Logger } from '../base/logger.js'
import { listDirectory, makeDirectory, syncDirectory } from './durable-files.js'
import { storageError } from './level-database.js'

/** What is kept together, inclusive; the one that came last stays also if it is larger. */
export const MAX_QUARANTINE_BYTES = 128 * 1024 * 1024
/** `NAME-MS`: when it was set aside, by the wall clock. */
const SET_ASIDE = /-(\d+)$/
const OF_A_STREAM = /^\d{12}-\d+$/

interface Kept {
  readonly path: string
  readonly atMs: number
  readonly bytes: number
}

/**
 * Moves a directory to `quarantine/NAME-MS` of the data directory. Durable when it resolves.
 * @param name `STREAM/SEQUENCE` of a segment, `state` of the state database.
 * @returns where it is now. @throws SluiceError as storageError.
 */
export async function setAside(
  directory: string,
  dataDirectory: string,
  name: string,
  logger: Logger,
  maxBytes = MAX_QUARANTINE_BYTES,
): Promise<string> {
  const quarantine = join(dataDirectory, 'quarantine')
  const aside = join(quarantine, `${name}-${Date.now()}`)
  await makeDirectory(dirname(aside))
  try {
    await rename(directory, aside)
    await syncDirectory(dirname(aside))
    await syncDirectory(dirname(directory))
  } catch (error) {
    throw storageError(error, `${directory} cannot be set aside`)
  }
  await makeRoom(quarantine, aside, maxBytes, logger).catch((error) =>
    logger.warn('what was set aside cannot be kept within its maximum', { quarantine, reason: messageOf(error) }),
  )
  return aside
}

async function makeRoom(quarantine: string, latest: string, maxBytes: number, logger: Logger): Promise<void> {
  const kept = await keptIn(quarantine)
  let bytes = kept.reduce((sum, one) => sum + one.bytes, 0)
  for (const one of kept.sort((a, b) => a.atMs - b.atMs)) {
    if (bytes <= maxBytes) return
    if (one.path === latest) continue
    await rm(one.path, { recursive: true, force: true })
    bytes -= one.bytes
    logger.warn('the oldest of what was set aside is removed: more is not kept', {
      removed: one.path,
      bytes: one.bytes,
      max_bytes: maxBytes,
    })
  }
}

async function keptIn(quarantine: string): Promise<Kept[]> {
  const paths: string[] = []
  for (const name of await listDirectory(quarantine)) {
    const segments = (await listDirectory(join(quarantine, name))).filter((one) => OF_A_STREAM.test(one))
    if (segments.length > 0) paths.push(...segments.map((segment) => join(quarantine, name, segment)))
    else if (SET_ASIDE.test(name)) paths.push(join(quarantine, name))
  }
  return Promise.all(
    paths.map(async (path) => ({ path, atMs: Number(SET_ASIDE.exec(path)?.[1]), bytes: await bytesOf(path) })),
  )
}

async function bytesOf(directory: string): Promise<number> {
  const names = await readdir(directory, { recursive: true })
  const files = await Promise.all(names.map((name) => stat(join(directory, name))))
  return files.reduce((sum, file) => sum + (file.isFile() ? file.size : 0), 0)
}
