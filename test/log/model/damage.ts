// What happens to the files of a log while it is not running: one fault at a time, with the most that it may take. The bound, in words: damage to a
// segment takes records of that segment only, and none where its records lie twice or what is damaged is not needed any more; only damage to the
// newest segment of a stream hides where partitions end and what facts there are; damage to the state database takes no record.

import { cpSync, existsSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { decodeSummary, type SegmentSummary } from '../../../src/log/segment-index.js'
import type { SeededRandom } from '../../helpers/seeded-random.js'
import type { Exposure, ModelStream } from './model-stream.js'
import { Ranges } from './ranges.js'

export interface Damage {
  readonly what: string
  /** By stream. */
  readonly exposed: ReadonlyMap<string, Exposure>
  /** The state database may be an older one, or a new one. */
  readonly stateOlder: boolean
}

interface SegmentOnDisk {
  readonly path: string
  readonly summary: SegmentSummary | null
  readonly isNewest: boolean
  readonly isOldest: boolean
  /** By partition. */
  readonly ranges: readonly Ranges[]
}

const SECTOR_BYTES = 512
/** Nobody reads them. */
const UNUSED = /^(LOG|LOG\.old|LOCK)$/

export class Saboteur {
  private olderState: string | null = null
  /** Segments that a fault has been at: what a second one takes may have been all that was left. */
  private readonly hurt = new Set<string>()

  constructor(
    private readonly directory: string,
    private readonly random: SeededRandom,
    private readonly streams: ReadonlyMap<string, ModelStream>,
    /** A place for copies. */
    private readonly spare: string,
  ) {}

  /** Does something to the files of a log that is closed, or was killed. */
  inflict(): Damage {
    const dice = this.random.below(100)
    if (dice < 40) return this.damageNewest()
    if (dice < 65) return this.damageSegment()
    if (dice < 78) return this.removeSegment()
    if (dice < 90) return this.damageState()
    return this.bringBackState()
  }

  /** Keeps the state database as it is for `bringBackState`. */
  keepState(): void {
    this.olderState = join(this.spare, 'state')
    rmSync(this.olderState, { recursive: true, force: true })
    cpSync(join(this.directory, 'state'), this.olderState, { recursive: true })
  }

  private damageNewest(): Damage {
    const stream = this.anyStream()
    const newest = segmentsOf(this.directory, stream).at(-1)
    return newest === undefined ? this.damageState() : this.damageFileOf(stream, newest)
  }

  private damageSegment(): Damage {
    const stream = this.anyStream()
    const segments = segmentsOf(this.directory, stream)
    if (segments.length === 0) return this.damageState()
    return this.damageFileOf(stream, segments[this.random.below(segments.length)])
  }

  private damageFileOf(stream: ModelStream, segment: SegmentOnDisk): Damage {
    const names = readdirSync(segment.path).filter((one) => !UNUSED.test(one) || this.random.chance(0.1))
    const logs = names.filter((one) => one.endsWith('.log') && segment.summary === null)
    const name = logs[0] !== undefined && this.random.chance(0.5) ? logs[0] : names[this.random.below(names.length)]
    const what = this.change(join(segment.path, name))
    const known = this.hurt.has(segment.path) ? { ...segment, summary: null } : segment
    const exposure = exposureOf(known, name, what)
    this.hurt.add(segment.path)
    return { what, exposed: new Map([[stream.name, exposure]]), stateOlder: false }
  }

  private removeSegment(): Damage {
    const stream = this.anyStream()
    const segments = segmentsOf(this.directory, stream)
    if (segments.length === 0) return this.damageState()
    const segment = segments[this.random.below(segments.length)]
    rmSync(segment.path, { recursive: true })
    const { isNewest, isOldest, ranges } = segment
    const exposure = { ranges, endsHidden: isNewest, factsDoubtful: isNewest, isOldest, stateOlder: false }
    return { what: `removed ${segment.path}`, exposed: new Map([[stream.name, exposure]]), stateOlder: false }
  }

  private damageState(): Damage {
    const state = join(this.directory, 'state')
    const names = readdirSync(state)
    const what = this.change(join(state, names[this.random.below(names.length)]))
    return { what, exposed: this.onlyState(), stateOlder: true }
  }

  /** An older copy takes the place of the state database: with its witness, or beside the one that is there. */
  private bringBackState(): Damage {
    const older = this.olderState
    if (older === null) return this.damageState()
    const state = join(this.directory, 'state')
    const witness = join(state, 'live')
    const kept = this.random.chance(0.5) && existsSync(witness) ? readFileSync(witness) : null
    rmSync(state, { recursive: true })
    cpSync(older, state, { recursive: true })
    if (kept !== null) writeFileSync(witness, kept)
    return {
      what: `an older state database, ${kept ? 'missed' : 'unnoticed'}`,
      exposed: this.onlyState(),
      stateOlder: true,
    }
  }

  private onlyState(): ReadonlyMap<string, Exposure> {
    return new Map(
      [...this.streams.keys()].map((name) => [
        name,
        { ranges: [], endsHidden: false, factsDoubtful: false, isOldest: false, stateOlder: true },
      ]),
    )
  }

  private anyStream(): ModelStream {
    const streams = [...this.streams.values()]
    return streams[this.random.below(streams.length)]
  }

  /** @returns what was done to the file. */
  private change(path: string): string {
    const { size } = statSync(path)
    const kind =
      size === 0 ? 'removed' : ['removed', 'cut', 'cut', 'flipped', 'flipped', 'zeroed'][this.random.below(6)]
    if (kind === 'removed') rmSync(path)
    else if (kind === 'cut') truncateSync(path, this.placeIn(path))
    else {
      const bytes = readFileSync(path)
      const at = this.placeIn(path)
      if (kind === 'flipped') bytes[at] ^= 1 << this.random.below(8)
      else
        bytes
          .subarray(at - (at % SECTOR_BYTES))
          .subarray(0, SECTOR_BYTES)
          .fill(0)
      writeFileSync(path, bytes)
    }
    return `${kind} ${path}`
  }

  /** Mostly where something is written: a log is laid out with zeros. */
  private placeIn(path: string): number {
    const bytes = readFileSync(path)
    const used = bytes.findLastIndex((byte) => byte !== 0) + 1
    return this.random.below(used > 0 && this.random.chance(0.9) ? used : bytes.length)
  }
}

/** Those that are born, oldest first. */
function segmentsOf(directory: string, stream: ModelStream): SegmentOnDisk[] {
  const root = join(directory, 'streams', stream.name)
  const names = readdirSync(root).filter((name) => /^\d{12}$/.test(name) && existsSync(join(root, name, 'live')))
  const ends = stream.partitions.map(({ start }) => start)
  return names.sort().map((name, i) => {
    const path = join(root, name)
    const sealed = join(path, 'sealed')
    const summary = existsSync(sealed) ? decodeSummary(readFileSync(sealed)) : null
    const ranges = stream.partitions.map((_, partition) => {
      const extent = summary?.extents[partition]
      const first = extent?.base ?? ends[partition]
      const end = extent?.end ?? stream.nextOffset(partition)
      if (extent) ends[partition] = extent.end
      return Ranges.of([{ first, last: end - 1 }])
    })
    return { path, summary, isNewest: i === names.length - 1, isOldest: i === 0, ranges }
  })
}

function exposureOf({ summary, isNewest, isOldest, ranges }: SegmentOnDisk, name: string, what: string): Exposure {
  const none = { ranges: [], endsHidden: false, factsDoubtful: false, isOldest: false, stateOlder: false }
  if (UNUSED.test(name)) return none
  const facts = { ...none, factsDoubtful: isNewest }
  if (summary === null) {
    // Being written, or being sealed.
    if (name === 'live') return isNewest ? { ...facts, endsHidden: true } : none
    return { ranges, endsHidden: isNewest, factsDoubtful: isNewest, isOldest, stateOlder: false }
  }
  if (name.endsWith('.ldb')) return { ...facts, ranges }
  if (name === 'live') return isNewest && !what.startsWith('flipped') ? { ...facts, endsHidden: true } : none
  return none
}
