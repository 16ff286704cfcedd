// Brings what the log asks of the file system, of LevelDB and of the event loop to the world it lives in (world.ts), if there is one. To be loaded
// before the log is: some of its files take hold of a function when they are loaded.

import fs from 'node:fs'
import fsp, { type FileHandle } from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import { join } from 'node:path'
import { type LevelDatabase, openLevel } from '../../../src/state/level-database.js'
import type { SeededRandom } from '../../helpers/seeded-random.js'
import { tempDirInMemory } from '../../helpers/temp-dir.js'
import { type Operation, World } from './world.js'

type Call = (...args: unknown[]) => unknown
type Owner = Record<string, Call>

/** Compactions that an opening begins run by themselves: LevelDB begins one at so many tables. */
const TABLES_THAT_COMPACT = 4
const SECTOR_BYTES = 512

const handles = new Set<FileHandle>()
const descriptors = new Set<number>()
const databases = new Map<object, () => Promise<unknown>>()
const iterators = new Set<object>()
const closeIterator = new Map<object, () => unknown>()

/** The world an operation belongs to; null for what is part of another operation, and where there is no world. */
function world(): World | null {
  return World.current?.isCarryingOut ? null : World.current
}

function replace(owner: object, name: string, replacement: (real: Call) => Call): void {
  const functions = owner as Owner
  functions[name] = replacement(functions[name])
}

/**
 * A function that returns a promise becomes an operation.
 * @param atOnce Does the same and waits for no other thread.
 */
function hook(
  owner: object,
  name: string,
  describe: (self: unknown, args: unknown[]) => Operation,
  atOnce?: (self: unknown, args: unknown[]) => unknown,
): void {
  replace(
    owner,
    name,
    (real) =>
      function (this: unknown, ...args: unknown[]) {
        const here = world()
        if (here === null) return real.apply(this, args)
        const carryOut = async (): Promise<unknown> => (atOnce ? atOnce(this, args) : real.apply(this, args))
        return here.perform(describe(this, args), carryOut)
      },
  )
}

const plain =
  (kind: Operation['kind'], bytes = 0) =>
  (_self: unknown, [path]: unknown[]): Operation => ({ kind, path: String(path), bytes })

function hookFiles(): void {
  const hookFile = (name: string, describe: ReturnType<typeof plain>): void =>
    hook(fsp, name, describe, (_self, args) => (fs as unknown as Owner)[`${name}Sync`](...args))
  for (const name of ['readFile', 'stat', 'readdir']) hookFile(name, plain('read'))
  hookFile('mkdir', plain('make', 4096))
  hookFile('rename', plain('rename'))
  hookFile('rm', plain('remove'))
  replace(
    fsp,
    'statfs',
    (real) =>
      (...args) =>
        World.current ? Promise.resolve(World.current.disk.space) : real(...args),
  )
  replace(fsp, 'open', (real) => (...args) => {
    const carryOut = async (): Promise<FileHandle> => {
      const handle = (await real(...args)) as FileHandle
      if (World.current) hookClose(handle)
      return handle
    }
    const makes = typeof args[1] === 'string' && args[1].startsWith('w')
    return world()?.perform(plain(makes ? 'make' : 'read')(null, args), carryOut) ?? carryOut()
  })
}

async function hookHandles(): Promise<void> {
  const probe = await fsp.open('/dev/null')
  const prototype = Object.getPrototypeOf(probe) as object
  await probe.close()
  const on =
    (kind: Operation['kind'], bytes: (args: unknown[]) => number = () => 0) =>
    (self: unknown, args: unknown[]): Operation => ({
      kind,
      path: `descriptor ${(self as FileHandle).fd}`,
      bytes: bytes(args),
    })
  const hookHandle = (
    name: string,
    describe: ReturnType<typeof on>,
    call: (fd: number, args: never[]) => unknown,
  ): void => hook(prototype, name, describe, (self, args) => call((self as FileHandle).fd, args as never[]))
  const length = ([bytes]: unknown[]): number => (bytes as Uint8Array).length
  hookHandle('read', on('read'), (fd, [buffer, ...where]) => ({ bytesRead: fs.readSync(fd, buffer, ...where), buffer }))
  hookHandle('stat', on('read'), (fd) => fs.fstatSync(fd))
  hookHandle('write', on('write', length), (fd, [bytes, ...where]) => fs.writeSync(fd, bytes, ...where))
  hookHandle('writeFile', on('write', length), (fd, [bytes]) => fs.writeFileSync(fd, bytes))
  hookHandle('sync', on('sync'), (fd) => fs.fsyncSync(fd))
  hookHandle('datasync', on('sync'), (fd) => fs.fdatasyncSync(fd))
  hookHandle('truncate', on('remove'), (fd, [size]) => fs.ftruncateSync(fd, size))
}

function hookClose(handle: FileHandle): void {
  handles.add(handle)
  replace(handle, 'close', (real) => () => {
    const carryOut = (): Promise<unknown> => {
      handles.delete(handle)
      return real() as Promise<unknown>
    }
    return world()?.perform({ kind: 'close', path: `descriptor ${handle.fd}`, bytes: 0 }, carryOut) ?? carryOut()
  })
}

/** The calls with callbacks, which the witness is written with. */
function hookDescriptors(): void {
  const hookCallback = (name: string, kind: Operation['kind'], heard: (fd: number) => void): void =>
    replace(fs, name, (real) => (...all) => {
      const here = world()
      if (here === null) return real(...all)
      const callback = all.at(-1) as (error: unknown, ...results: unknown[]) => void
      const args = all.slice(0, -1)
      const carryOut = (): Promise<unknown> =>
        new Promise((resolve, reject) => {
          real(...args, (error: unknown, result: unknown) => {
            if (error) reject(error as Error)
            else {
              heard(name === 'open' ? (result as number) : (args[0] as number))
              resolve(result)
            }
          })
        })
      const tear = async (random: SeededRandom): Promise<void> => {
        const [fd, bytes] = args as [number, Buffer]
        if (descriptors.has(fd)) fs.writeSync(fd, bytes, 0, random.below(bytes.length), 0)
      }
      const operation: Operation = {
        kind,
        path: `descriptor ${args[0]}`,
        bytes: 0,
        ...(name === 'write' ? { tear } : {}),
      }
      return here.perform(operation, carryOut).then((result) => callback(null, result), callback)
    })
  hookCallback('open', 'read', (fd) => descriptors.add(fd))
  hookCallback('write', 'in-place', () => {})
  hookCallback('fdatasync', 'sync', () => {})
  hookCallback('close', 'close', (fd) => descriptors.delete(fd))
}

async function hookLevel(): Promise<void> {
  const probe = await openLevel(tempDirInMemory(), { writeBufferBytes: 1 << 20, createIfMissing: true })
  const prototype = Object.getPrototypeOf(probe) as object
  await probe.close()
  const of =
    (kind: Operation['kind']) =>
    (self: unknown): Operation => ({ kind, path: (self as { location: string }).location, bytes: 0 })
  replace(
    prototype,
    '_open',
    (real) =>
      function (this: unknown, ...args: unknown[]) {
        const carryOut = async (): Promise<void> => {
          await real.apply(this, args)
          if (World.current === null) return
          databases.set(this as object, () => closeDatabase.call(this) as Promise<unknown>)
          // Status is not `open` yet, which is all that the property is asked for.
          await compacted(this as LevelDatabase)
        }
        return world()?.perform(of('open')(this), carryOut) ?? carryOut()
      },
  )
  const closeDatabase = (prototype as Owner)['_close']
  replace(
    prototype,
    '_close',
    (real) =>
      function (this: unknown) {
        const carryOut = (): Promise<unknown> => {
          databases.delete(this as object)
          return real.call(this) as Promise<unknown>
        }
        return world()?.perform(of('close')(this), carryOut) ?? carryOut()
      },
  )
  hook(prototype, '_get', of('read'))
  hook(prototype, 'compactRange', (self) => ({ ...of('flush')(self), bytes: 16 * 1024 }))
  replace(
    prototype,
    '_batch',
    (real) =>
      function (this: unknown, ...args: unknown[]) {
        const { location } = this as { location: string }
        const carryOut = (): Promise<unknown> => {
          noteUnsynced(location, (args[1] as { sync?: boolean }).sync === true)
          return real.apply(this, args) as Promise<unknown>
        }
        const operation: Operation = {
          kind: 'batch',
          path: location,
          bytes: (args[0] as { value?: Buffer }[]).reduce((sum, { value }) => sum + 50 + (value?.length ?? 0), 0),
          tear: (random) => torn(location, carryOut, random),
        }
        return world()?.perform(operation, carryOut) ?? carryOut()
      },
  )
  replace(
    prototype,
    '_iterator',
    (real) =>
      function (this: unknown, ...args: unknown[]) {
        const iterator = real.apply(this, args) as object
        if (World.current === null) return iterator
        for (const name of ['_next', '_nextv']) hook(iterator, name, () => of('read')(this))
        const close = (iterator as Owner)['_close'].bind(iterator)
        iterators.add(iterator)
        closeIterator.set(iterator, close)
        replace(iterator, '_close', () => () => {
          iterators.delete(iterator)
          closeIterator.delete(iterator)
          return close()
        })
        return iterator
      },
  )
}

/** Resolves when LevelDB has nothing to do by itself. */
async function compacted(database: LevelDatabase): Promise<void> {
  const tables = (): number => {
    Object.defineProperty(database, 'status', { value: 'open', configurable: true })
    try {
      return Number(database.getProperty('leveldb.num-files-at-level0'))
    } finally {
      delete (database as { status?: string }).status
    }
  }
  const hasFailed = (): boolean =>
    /error/i.test(fs.readFileSync(join((database as unknown as { location: string }).location, 'LOG'), 'utf8'))
  while (tables() >= TABLES_THAT_COMPACT && !hasFailed()) await new Promise((resolve) => realTimeout(resolve, 1))
}

/** Of logs that LevelDB was not told to sync: what they were before. */
const unsynced = new Map<string, Buffer>()

function noteUnsynced(directory: string, isSynced: boolean): void {
  const path = logOf(directory)
  if (isSynced) unsynced.delete(path)
  else if (!unsynced.has(path)) unsynced.set(path, fs.readFileSync(path))
}

/** As a power cut does. Everything must be closed. */
export function loseUnsynced(): void {
  for (const [path, before] of unsynced) if (fs.existsSync(path)) fs.writeFileSync(path, before)
  unsynced.clear()
}

function logOf(directory: string): string {
  const logs = fs.readdirSync(directory).filter((name) => name.endsWith('.log'))
  return join(directory, logs.sort().at(-1) as string)
}

/** Carries a batch out so far as a cut in its middle would let it come: some bytes of it, or some sectors. */
async function torn(directory: string, carryOut: () => Promise<unknown>, random: SeededRandom): Promise<void> {
  const path = logOf(directory)
  const before = fs.readFileSync(path)
  await carryOut()
  const after = fs.readFileSync(path)
  const first = firstDifference(before, after)
  if (first === null) return
  const last = lastDifference(before, after)
  const place = first + random.below(last - first + 1)
  // What is written over is so by sectors; what the file grows by, by bytes.
  const cut = place < before.length ? Math.max(first, place - (place % SECTOR_BYTES)) : place
  if (random.chance(0.5)) return writeOver(path, Buffer.concat([after.subarray(0, cut), before.subarray(cut)]))
  // A disk writes sectors in any order; what a file has grown by reads as zeros.
  for (let sector = first - (first % SECTOR_BYTES); sector <= last; sector += SECTOR_BYTES) {
    if (random.chance(0.5)) continue
    for (let at = sector; at < Math.min(sector + SECTOR_BYTES, after.length); at++) after[at] = before[at] ?? 0
  }
  writeOver(path, after)
}

function firstDifference(before: Buffer, after: Buffer): number | null {
  for (let at = 0; at < after.length; at++) if (before[at] !== after[at]) return at
  return null
}

function lastDifference(before: Buffer, after: Buffer): number {
  let at = after.length - 1
  while (at >= 0 && before[at] === after[at]) at--
  return at
}

/** In place: LevelDB has it open. */
function writeOver(path: string, bytes: Buffer): void {
  const file = fs.openSync(path, 'r+')
  fs.writeSync(file, bytes, 0, bytes.length, 0)
  fs.ftruncateSync(file, bytes.length)
  fs.closeSync(file)
}

const realTimeout = setTimeout

function hookTime(): void {
  const timer = (cancel: () => void): object => {
    const handle = { cancel, unref: () => handle, ref: () => handle }
    return handle
  }
  const later =
    (real: Call): Call =>
    (callback, ms) =>
      World.current ? timer(World.current.after(Number(ms ?? 0), callback as () => void)) : real(callback, ms)
  const cancel =
    (real: Call): Call =>
    (handle) => {
      const stop = (handle as { cancel?: () => void } | undefined)?.cancel
      return stop ? stop() : real(handle)
    }
  replace(globalThis, 'setTimeout', later)
  replace(globalThis, 'clearTimeout', cancel)
  // Nothing that is tested repeats anything: it keeps a process alive.
  replace(
    globalThis,
    'setInterval',
    (real) =>
      (...args) =>
        World.current ? timer(() => {}) : real(...args),
  )
  replace(globalThis, 'clearInterval', cancel)
  replace(
    globalThis,
    'setImmediate',
    (real) => (callback) => (World.current ? World.current.nextTurn(callback as () => void) : real(callback)),
  )
  replace(performance, 'now', (real) => () => World.current?.nowMs ?? real.call(performance))
}

/** What a log that is closed must not have. */
export function openThings(): string[] {
  const paths = [...handles].map(({ fd }) => fs.readlinkSync(`/proc/self/fd/${fd}`))
  const names = [...databases.keys()].map((database) => (database as { location: string }).location)
  return [...paths, ...names, ...[...descriptors].map((fd) => fs.readlinkSync(`/proc/self/fd/${fd}`))]
}

/** As the end of a process does: closes whatever the log has open. */
export async function closeEverything(): Promise<void> {
  for (const close of closeIterator.values()) close()
  iterators.clear()
  closeIterator.clear()
  for (const close of [...databases.values()]) await close()
  databases.clear()
  for (const handle of [...handles]) await handle.close()
  handles.clear()
  for (const fd of descriptors) fs.closeSync(fd)
  descriptors.clear()
}

hookFiles()
await hookHandles()
hookDescriptors()
await hookLevel()
hookTime()
syncBuiltinESMExports()
