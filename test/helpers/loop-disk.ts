// A disk of its own: ext4 in a file, mounted through a loop device. Its power can be cut, it can be frozen and made read-only, each for real.
// Needs root, mkfs.ext4 and perl (or python3); `make` says what is missing elsewhere.

import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { tempDir } from './temp-dir.js'

/** EXT4_IOC_SHUTDOWN with EXT4_GOING_FLAGS_NOLOGFLUSH: from now on nothing reaches the disk, not even the journal. */
const CUT_POWER = {
  perl: 'use Fcntl; sysopen(D, $ARGV[0], O_RDONLY) or die $!; my $f = pack("L", 2); ioctl(D, 0x8004587d, $f) or die $!',
  python3:
    'import fcntl, os, struct, sys; fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587d, struct.pack("I", 2))',
}
const UNMOUNT_TRIES = 50
const PREFIX = 'sluice-loop-'
const FORGOTTEN = new RegExp(` (/\\S*/${PREFIX}(\\d+)-\\w+/disk) `, 'g')
const made = new Set<LoopDisk>()
// Before the folder it lies in is removed.
process.prependOnceListener('exit', () => {
  for (const disk of made) disk.remove()
})
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1))

export class LoopDisk {
  readonly path: string
  private readonly image: string
  private readonly cutter: readonly [string, ...string[]]
  private thawer: ChildProcess | null = null

  private constructor(folder: string, cutter: readonly [string, ...string[]]) {
    this.path = join(folder, 'disk')
    this.image = join(folder, 'image')
    this.cutter = cutter
  }

  /** @returns the mounted disk, or why there can be none. */
  static make(megabytes: number): LoopDisk | string {
    if (process.getuid?.() !== 0) return 'mounting a disk needs root'
    const cutter = succeeds('perl', '-v') ? (['perl', '-e', CUT_POWER.perl] as const) : null
    const other = succeeds('python3', '-V') ? (['python3', '-c', CUT_POWER.python3] as const) : null
    const chosen = cutter ?? other
    if (chosen === null) return 'cutting its power needs perl or python3'
    removeForgotten()
    const disk = new LoopDisk(tempDir(`${PREFIX}${process.pid}-`), chosen)
    writeFileSync(disk.image, '')
    truncateSync(disk.image, megabytes * 1024 * 1024)
    if (!succeeds('mkfs.ext4', '-q', '-F', disk.image)) return 'mkfs.ext4 is not to be had'
    mkdirSync(disk.path)
    if (!disk.mount()) return 'loop devices cannot be mounted here'
    made.add(disk)
    return disk
  }

  /** Everything not yet on the disk is lost; everything tried from now on fails, until `powerOn`. */
  cutPower(): void {
    const [program, ...args] = this.cutter
    must(program, ...args, this.path)
  }

  /** Mounts it again as after a boot: the journal is replayed. Nobody may have a file open on it. */
  powerOn(): void {
    this.unmount()
    if (!this.mount()) throw new Error('the disk cannot be mounted again')
  }

  /**
   * Writes hang until `thaw`.
   * @param atMostSeconds After that it thaws by itself: a process that is killed meanwhile cannot end before.
   */
  freeze(atMostSeconds = 60): void {
    must('fsfreeze', '-f', this.path)
    const script = 'sleep "$1"; fsfreeze -u "$2"'
    const args = ['-c', script, 'thaw', String(atMostSeconds), this.path]
    this.thawer = spawn('sh', args, { detached: true, stdio: 'ignore' })
    this.thawer.unref()
  }

  thaw(): void {
    must('fsfreeze', '-u', this.path)
    this.endThawer()
  }

  /** The kernel finds an error and makes the file system read-only under whoever has files open, until `powerOn`. */
  makeReadOnly(): void {
    writeFileSync(`/sys/fs/ext4/${this.device()}/trigger_fs_error`, 'an error made by a test')
  }

  remove(): void {
    if (!made.delete(this)) return
    if (this.thawer !== null) this.thaw()
    spawnSync('umount', ['-l', this.path])
    rmSync(this.image, { force: true })
  }

  /** The loop device goes with the mount. */
  private mount(): boolean {
    return succeeds('mount', '-o', 'loop,errors=remount-ro', this.image, this.path)
  }

  /** And the sleep it waits for. */
  private endThawer(): void {
    const pid = this.thawer?.pid
    this.thawer = null
    if (pid !== undefined) process.kill(-pid)
  }

  /** As in /sys: loop3. */
  device(): string {
    const { stdout } = spawnSync('findmnt', ['-n', '-o', 'SOURCE', this.path], { encoding: 'utf8' })
    return basename(stdout.trim())
  }

  private unmount(): void {
    // A process that was killed may take a moment to let go.
    for (let left = UNMOUNT_TRIES; left > 0; left--) {
      if (succeeds('umount', this.path)) return
      spawnSync('sleep', ['0.05'])
    }
    throw new Error(`${this.path} is in use and cannot be unmounted`)
  }
}

/** Those of a test that was killed, and could not unmount them. */
function removeForgotten(): void {
  for (const [, path, pid] of readFileSync('/proc/mounts', 'utf8').matchAll(FORGOTTEN)) {
    if (existsSync(`/proc/${pid}`)) continue
    spawnSync('fsfreeze', ['-u', path])
    spawnSync('umount', ['-l', path])
    rmSync(dirname(path), { recursive: true, force: true })
  }
}

function succeeds(program: string, ...args: readonly string[]): boolean {
  return spawnSync(program, args, { stdio: 'ignore' }).status === 0
}

function must(program: string, ...args: readonly string[]): void {
  const { status, stderr } = spawnSync(program, args, { encoding: 'utf8' })
  if (status !== 0) throw new Error(`${program} ${args.join(' ')} failed: ${stderr}`)
}
