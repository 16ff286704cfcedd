// The disk of a simulated world: has room, or none; works, or fails once. A write that fails may have been carried out wholly, in part, or not at all.

import { existsSync, lstatSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import type { SeededRandom } from '../../helpers/seeded-random.js'
import type { Operation } from './world.js'

const BLOCK_BYTES = 4096
/** Of a LevelDB that is opened: a new list of its tables, a new log. */
const OPEN_BYTES = 2 * BLOCK_BYTES
const CHANGES: ReadonlySet<Operation['kind']> = new Set([
  'make',
  'write',
  'in-place',
  'sync',
  'rename',
  'batch',
  'flush',
])

export class SimulatedDisk {
  freeBytes = Number.POSITIVE_INFINITY
  /** The disk fails at the so many-th change from now on, once; null: it does not. */
  failsIn: number | null = null
  /** Where there is no room for a batch however much there is elsewhere. */
  refuses: (path: string) => boolean = () => false
  /** What failed, if anything has. */
  failed: string | null = null
  /** Databases that LevelDB has found its disk failing under: it refuses every write from then on. */
  private readonly refusing = new Map<string, NodeJS.ErrnoException>()

  constructor(private readonly random: SeededRandom) {}

  get isFull(): boolean {
    return this.freeBytes < Number.POSITIVE_INFINITY
  }

  fill(leftBytes: number): void {
    this.freeBytes = leftBytes
  }

  empty(): void {
    this.freeBytes = Number.POSITIVE_INFINITY
  }

  forget(): void {
    this.refusing.clear()
    this.failsIn = null
    this.failed = null
  }

  async carryOut<T>(operation: Operation, action: () => Promise<T>): Promise<T> {
    const { kind, path } = operation
    const refusal = kind === 'batch' ? this.refusing.get(path) : undefined
    if (refusal) throw refusal
    const failure = this.failureOf(operation)
    if (failure !== null) {
      if (kind === 'batch' || kind === 'flush') this.refusing.set(path, failure)
      // LevelDB says nothing of a flush that failed.
      if (kind === 'flush') return undefined as T
      if (kind === 'batch') await this.carryOutInPart(operation, action)
      throw failure
    }
    if (kind === 'open' || kind === 'close') this.refusing.delete(path)
    const before = kind === 'remove' && this.isFull ? bytesOf(path) : 0
    const result = await action()
    if (kind === 'remove' && this.isFull) this.freeBytes += before - bytesOf(path)
    return result
  }

  /** As statfs tells it. */
  get space(): { readonly bavail: number; readonly bsize: number } {
    return { bavail: Math.floor(Math.min(this.freeBytes, 1e12) / BLOCK_BYTES), bsize: BLOCK_BYTES }
  }

  private failureOf({ kind, path, bytes }: Operation): NodeJS.ErrnoException | null {
    if (this.failsIn !== null && CHANGES.has(kind) && --this.failsIn <= 0) {
      this.failsIn = null
      this.failed = `${kind} ${path}`
      return failureNamed('EIO', 'Input/output error', path)
    }
    const needed = kind === 'open' ? OPEN_BYTES + logBytesOf(path) : bytes
    const takesRoom = kind === 'open' || kind === 'make' || kind === 'write' || kind === 'batch' || kind === 'flush'
    if (!this.isFull || !takesRoom) return null
    if (needed > this.freeBytes || (kind === 'batch' && this.refuses(path)))
      return failureNamed('ENOSPC', 'No space left on device', path)
    this.freeBytes -= needed
    return null
  }

  private async carryOutInPart({ tear }: Operation, action: () => Promise<unknown>): Promise<void> {
    const part = this.random.below(3)
    if (part === 1) await action()
    if (part === 2) await tear?.(this.random)
  }
}

function failureNamed(code: 'EIO' | 'ENOSPC', words: string, path: string): NodeJS.ErrnoException {
  return Object.assign(new Error(`${code}: IO error: ${path}: ${words}`), { code })
}

/** What opening a database makes a table of. */
function logBytesOf(directory: string): number {
  if (!existsSync(directory)) return 0
  const logs = readdirSync(directory).filter((name) => name.endsWith('.log'))
  return logs.reduce((sum, name) => sum + bytesOf(join(directory, name)), 0)
}

function bytesOf(path: string): number {
  if (!existsSync(path)) return 0
  const stats = lstatSync(path)
  if (!stats.isDirectory()) return stats.size
  return readdirSync(path).reduce((sum, name) => sum + bytesOf(join(path, name)), 0)
}
