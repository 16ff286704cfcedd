// What a byte of payload costs the SD card, counted at the block device, the file system's journal included: real readings at a steady rate
// onto an ext4 of their own, from the first record to the seal of what they left, zeros laid out in advance included. And what LevelDB writes for each
// byte it is given, which tells that no compaction runs.

import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { LoopDisk } from '../../test/helpers/loop-disk.js'
import { tempDir } from '../../test/helpers/temp-dir.js'
import { readingsSource } from '../readings.js'
import { megabytes, runJob, startJob } from './log-job.js'
import { type BenchOptions, formatTable, type Workload } from './workload.js'

const PER_SECOND = 5000
const AT_MOST_PER_PAYLOAD_BYTE = 1.5
const AT_MOST_PER_STORED_BYTE = 2.15
const SECTOR_BYTES = 512
/** Field of /sys/block/…/stat, from 0. */
const SECTORS_WRITTEN = 6
const MB = 1024 * 1024

interface Setting {
  readonly compression: 'none' | 'gzip'
  readonly lingerMs: number
}

const SETTINGS: readonly Setting[] = [
  { compression: 'none', lingerMs: 20 },
  { compression: 'gzip', lingerMs: 20 },
  { compression: 'gzip', lingerMs: 40 },
  { compression: 'gzip', lingerMs: 100 },
]

interface Paced {
  readonly messages: number
  readonly payloadBytes: number
  readonly storedBytes: number
  readonly commits: number
}

interface Amplified {
  readonly stored: number
  readonly written: number
  readonly compactions: number
}

export const deviceBytes: Workload = {
  name: 'device-bytes',
  summary: 'bytes written to the block device for each byte of payload',
  async run(options) {
    const seconds = options.quick ? 4 : 30
    const paced: (Setting & { device: number } & Paced)[] = []
    const reason = 'counting at the block device needs root and loop devices'
    let missing: string | null = null
    for (const setting of SETTINGS) {
      const measured = await onDevice(setting, seconds, options)
      if (typeof measured === 'string') missing = `${reason}: ${measured}`
      else paced.push({ ...setting, ...measured })
    }
    const amplified: ({ partitions: number } & Amplified)[] = []
    for (const partitions of [1, 8]) {
      options.progress(`write amplification with ${partitions} partitions`)
      const stream = `partitions = ${partitions}\nretention = { max_bytes = "128MB" }`
      const job = { name: 'amplify', partitions, bytes: (options.quick ? 64 : 512) * MB } as const
      const data = join(tempDir(), 'data')
      amplified.push({ partitions, ...(await runJob<Amplified>({ data, stream, job }, options.brokerCore)) })
    }
    const device = paced.map(
      ({ compression, lingerMs, device: bytes, payloadBytes, storedBytes, commits, messages }) => [
        `${compression}, ${lingerMs} ms`,
        megabytes(payloadBytes),
        megabytes(storedBytes),
        (messages / commits).toFixed(0),
        megabytes(bytes),
        (bytes / payloadBytes).toFixed(2),
        compression === 'gzip' && lingerMs === 20 ? `${AT_MOST_PER_PAYLOAD_BYTE}` : '',
      ],
    )
    const text = [
      `Device bytes: ${readingsSource()} at ${PER_SECOND} messages a second for ${seconds} s, each acknowledged after fdatasync; ext4, journal included`,
      '',
      ...(missing === null
        ? formatTable([
            ['compression, linger', 'payload', 'stored', 'messages a commit', 'device', 'device / payload', 'at most'],
            ...device,
          ])
        : [missing]),
      '',
      'Bytes written by LevelDB (logs and tables) for each byte stored; values of 32 KB, retention running, a reader that jumps about',
      '',
      ...formatTable([
        ['partitions', 'stored', 'written', 'written / stored', 'at most', 'segments with a compaction'],
        ...amplified.map(({ partitions, stored, written, compactions }) => [
          `${partitions}`,
          megabytes(stored),
          megabytes(written),
          (written / stored).toFixed(2),
          `${AT_MOST_PER_STORED_BYTE}`,
          `${compactions}`,
        ]),
      ]),
    ]
    const result = {
      seconds,
      paced: paced.map(({ compression, lingerMs, device: bytes, payloadBytes, storedBytes, commits, messages }) => ({
        compression,
        linger_ms: lingerMs,
        messages,
        commits,
        payload_bytes: payloadBytes,
        stored_bytes: storedBytes,
        device_bytes: bytes,
        device_per_payload_byte: bytes / payloadBytes,
      })),
      at_most_per_payload_byte: AT_MOST_PER_PAYLOAD_BYTE,
      amplification: amplified.map(({ partitions, stored, written, compactions }) => ({
        partitions,
        stored_bytes: stored,
        written_bytes: written,
        ratio: written / stored,
        compactions,
      })),
      at_most_per_stored_byte: AT_MOST_PER_STORED_BYTE,
    }
    return { text, result }
  },
}

/** @returns why it cannot be measured here, or what was. */
async function onDevice(
  { compression, lingerMs }: Setting,
  seconds: number,
  { brokerCore, progress }: BenchOptions,
): Promise<string | ({ device: number } & Paced)> {
  const disk = LoopDisk.make(2048)
  if (typeof disk === 'string') return disk
  try {
    progress(`readings for ${seconds} s, compression ${compression}, linger ${lingerMs} ms`)
    // The ballast is written once, in the background: it would be counted or not as it comes.
    const stream = `linger_ms = ${lingerMs}\ncompression = "${compression}"\n[storage]\nballast_size = 0`
    const job = { name: 'pace', perSecond: PER_SECOND, seconds } as const
    const worker = startJob({ data: join(disk.path, 'data'), stream, job }, brokerCore)
    await worker.waitFor(/"open"\n/, 'stdout')
    const before = settledBytes(disk)
    worker.stdin.write('begin\n')
    const { code } = await worker.ended
    if (code !== 0) throw new Error(worker.stderr)
    const device = settledBytes(disk) - before
    return { device, ...(JSON.parse(worker.stdout.trim().split('\n')[1]) as Paced) }
  } finally {
    disk.remove()
  }
}

/** Bytes the device has been given once the journal has been written back. */
function settledBytes(disk: LoopDisk): number {
  spawnSync('sync')
  disk.freeze()
  const fields = readFileSync(`/sys/block/${disk.device()}/stat`, 'utf8').trim().split(/\s+/)
  disk.thaw()
  return Number(fields[SECTORS_WRITTEN]) * SECTOR_BYTES
}
