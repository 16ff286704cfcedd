// What the configuration needs to know of files: whether what it names is there, and the text of the configuration itself.

import { accessSync, constants, readFileSync, type Stats, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { messageOf } from '../base/errors.js'
import { quote, Unfit } from './unfit.js'

/** No file of a configuration that is larger is read, inclusive. */
export const MAX_CONFIG_BYTES = 4 * 1024 * 1024

/** @returns what is wrong with a file that has to be read, if anything is. */
export function fileProblem(path: string): Unfit | undefined {
  const found = statOf(path)
  if (found instanceof Unfit) return found
  if (found === undefined)
    return new Unfit(`names ${quote(path)}, which does not exist`, 'correct the path or create the file')
  if (found.isDirectory()) return new Unfit(`names ${quote(path)}, which is a folder`, 'name a file')
  try {
    accessSync(path, constants.R_OK)
    return undefined
  } catch {
    return new Unfit(`names ${quote(path)}, which this user may not read`, 'change its owner or mode')
  }
}

/** @returns what is wrong with a folder that may not exist yet, if anything is. */
export function folderProblem(path: string): Unfit | undefined {
  const found = statOf(path)
  if (found instanceof Unfit) return found
  if (found?.isDirectory()) return undefined
  if (found !== undefined) return new Unfit(`names ${quote(path)}, which is a file`, 'name a folder')
  // Newer Nodes say of a path below a file that it does not exist, older ones that it cannot.
  const parent = dirname(path)
  return parent === path ? undefined : folderProblem(parent)
}

/** The text of a file, without a byte order mark. @returns Unfit when it cannot be had or is not UTF-8. */
export function readTextFile(path: string): string | Unfit {
  const bytes = readBytesFile(path)
  if (bytes instanceof Unfit) return bytes
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    return new Unfit('the file is not UTF-8 text')
  }
}

/** @returns Unfit when the file cannot be had or is larger than MAX_CONFIG_BYTES. */
export function readBytesFile(path: string): Buffer | Unfit {
  const problem = fileProblem(path)
  if (problem !== undefined) return new Unfit(problem.what.replace(/^names "(.*)", which/, 'the file $1'), problem.fix)
  const { size } = statSync(path)
  if (size > MAX_CONFIG_BYTES)
    return new Unfit(`the file has ${size} bytes, more than ${MAX_CONFIG_BYTES}`, 'name the right file')
  try {
    return readFileSync(path)
  } catch (error) {
    return new Unfit(messageOf(error))
  }
}

function statOf(path: string): Stats | undefined | Unfit {
  try {
    return statSync(path, { throwIfNoEntry: false })
  } catch (error) {
    return new Unfit(`names ${quote(path)}: ${messageOf(error)}`, 'correct the path')
  }
}
