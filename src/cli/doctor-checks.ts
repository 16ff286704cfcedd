// The checks of `sluice doctor`. Each looks at one thing that has made gateways fail in the field, and says how to mend it.

import { constants, readFileSync, statSync } from 'node:fs'
import { access, statfs } from 'node:fs/promises'
import { createServer } from 'node:net'
import { totalmem } from 'node:os'
import { messageOf, SluiceError } from '../base/errors.js'
import type { ListenAddress } from '../config/address.js'
import { formatAddress } from '../config/address.js'
import type { Config } from '../config/schema.js'
import { ApiClient } from './api-client.js'
import { formatBytes, formatDuration } from './format.js'
import { nearestExisting } from './nearest-existing.js'
import { measureSync } from './sync-probe.js'

export interface Finding {
  readonly status: 'ok' | 'warn' | 'fail'
  readonly check: string
  readonly found: string
  /** An instruction; for what is not ok. */
  readonly fix?: string
}

/** By the magic number of statfs(2). */
const FILE_SYSTEMS: Readonly<
  Record<number, { readonly name: string; readonly concern?: string; readonly fix?: string }>
> = {
  [0x01021994]: {
    name: 'tmpfs',
    concern: 'in memory: nothing survives a power cut',
    fix: 'set data_dir to a folder on a disk',
  },
  [0x858458f6]: {
    name: 'ramfs',
    concern: 'in memory: nothing survives a power cut',
    fix: 'set data_dir to a folder on a disk',
  },
  [0x6969]: { name: 'NFS', concern: 'locks and syncs of a network are not to be relied on', fix: 'use a local disk' },
  [0xff534d42]: {
    name: 'CIFS',
    concern: 'locks and syncs of a network are not to be relied on',
    fix: 'use a local disk',
  },
  [0xfe534d42]: {
    name: 'SMB2',
    concern: 'locks and syncs of a network are not to be relied on',
    fix: 'use a local disk',
  },
  [0x794c7630]: {
    name: 'overlayfs',
    concern: 'the layer of a container: gone when it is removed',
    fix: 'mount a volume at data_dir',
  },
  [0x4d44]: { name: 'FAT', concern: 'not safe against power cuts', fix: 'use ext4 or f2fs' },
  [0xef53]: { name: 'ext4' },
  [0xf2f52010]: { name: 'f2fs' },
  [0x9123683e]: { name: 'btrfs' },
  [0x58465342]: { name: 'xfs' },
  [0x2fc12fc1]: { name: 'zfs' },
}

/** A p99 above this makes every ack feel slow; cards at the end of their life show it first. */
const SLOW_SYNC_MS = 100
/** With less, on top of the ballast, not even a start is safe. */
const MIN_FREE_BYTES = 64 * 1024 * 1024
/** Descriptors besides connections: LevelDB tables and logs, listeners, upstreams. */
const OTHER_DESCRIPTORS = 256
const CONNECT_ANSWER_MS = 1_000

export function checkNode(): Finding {
  const [major] = process.versions.node.split('.').map(Number)
  const found = `${process.versions.node}, ${process.platform} ${process.arch}`
  if (major % 2 === 0) return { status: 'ok', check: 'Node.js', found }
  return {
    status: 'warn',
    check: 'Node.js',
    found,
    fix: 'odd versions get no fixes for long; use an even one (22, 24)',
  }
}

export async function checkDataDir({ dataDir, storage, stream }: Config): Promise<Finding[]> {
  const check = 'data directory'
  const folder = nearestExisting(dataDir)
  try {
    if (!statSync(folder).isDirectory()) throw new Error('it is not a folder')
    await access(folder, constants.W_OK | constants.X_OK)
  } catch (error) {
    return [
      {
        status: 'fail',
        check,
        found: `${folder} cannot be written: ${messageOf(error)}`,
        fix: 'change its owner, or set data_dir',
      },
    ]
  }
  const note = folder === dataDir ? '' : ' (will be made)'
  const { type, bsize, bavail } = await statfs(folder)
  const system = FILE_SYSTEMS[type]
  const where = `${dataDir}${note}${system ? `, ${system.name}` : ''}`
  const findings: Finding[] = [
    system?.concern === undefined
      ? { status: 'ok', check, found: where }
      : { status: 'warn', check, found: `${where}: ${system.concern}`, fix: system.fix },
  ]
  const free = bsize * bavail
  const wanted = storage.diskBudget ?? stream.reduce((sum, { retention }) => sum + retention.maxBytes, 0)
  const found = `${formatBytes(free)} free, streams may grow to ${formatBytes(wanted)}`
  const fix = 'free some space, or lower retention.max_bytes of the streams (or set storage.disk_budget)'
  const status = free < MIN_FREE_BYTES + storage.ballastSize ? 'fail' : free < wanted ? 'warn' : 'ok'
  findings.push({ status, check: 'disk space', found, ...(status !== 'ok' && { fix }) })
  return findings
}

export async function checkSync({ dataDir }: Config): Promise<Finding> {
  const check = 'durable writes'
  try {
    const { rounds, p50Ms, p99Ms, maxMs } = await measureSync(nearestExisting(dataDir))
    const times = [p50Ms, p99Ms, maxMs].map(formatDuration)
    const found = `fdatasync of 4 KB: p50 ${times[0]}, p99 ${times[1]}, max ${times[2]} (${rounds} rounds)`
    if (p99Ms <= SLOW_SYNC_MS) return { status: 'ok', check, found }
    return {
      status: 'warn',
      check,
      found,
      fix: 'every ack waits for this; set linger_ms, or use a better card or an SSD',
    }
  } catch (error) {
    return { status: 'fail', check, found: messageOf(error), fix: 'see "data directory"' }
  }
}

export function checkClock(nowMs: number = Date.now()): Finding {
  const check = 'clock'
  const found = new Date(nowMs).toISOString()
  // A clock before the moment this program was installed has not been set since the power came.
  const installedMs = statSync(import.meta.filename).mtimeMs
  if (nowMs >= installedMs - 86_400_000) return { status: 'ok', check, found }
  const fix = 'set the clock (NTP, or a clock battery); until then records carry a wrong time'
  return { status: 'warn', check, found: `${found}, before this program was installed`, fix }
}

export async function checkAddresses({ mqtt, http }: Config): Promise<Finding[]> {
  const running = await nodeAt(http.listen[0])
  const findings: Finding[] = []
  for (const address of [...mqtt.listen, ...http.listen]) {
    const check = `${address.protocol} address`
    const url = formatAddress(address)
    const problem = await listenProblem(address)
    if (problem === null) findings.push({ status: 'ok', check, found: `${url} is free` })
    else if (problem === 'EADDRINUSE' && running)
      findings.push({ status: 'ok', check, found: `${url}: a node is running` })
    else if (problem === 'EADDRINUSE')
      findings.push({
        status: 'fail',
        check,
        found: `${url} is taken by another program`,
        fix: `stop it (to find it: ss -ltnp 'sport = :${address.port}') or set ${address.protocol}.listen`,
      })
    else
      findings.push({ status: 'fail', check, found: `${url}: ${problem}`, fix: `correct ${address.protocol}.listen` })
  }
  return findings
}

export function checkOpenFiles({ mqtt, stream }: Config, limits: string | null = readLimits()): Finding {
  const check = 'open files'
  const limit = /^Max open files\s+(\d+|unlimited)/m.exec(limits ?? '')?.[1]
  // Each stream: the segment being written, the next one, and its share of the open sealed ones.
  const needed = mqtt.maxConnections + stream.length * 16 + OTHER_DESCRIPTORS
  if (limit === undefined) return { status: 'ok', check, found: 'the limit is not known here' }
  const found = `at most ${limit}; ${needed} are needed when all is in use`
  if (limit === 'unlimited' || Number(limit) >= needed) return { status: 'ok', check, found }
  const fix = 'raise it (LimitNOFILE= in a systemd unit, ulimit -n) or lower mqtt.max_connections'
  return { status: 'warn', check, found, fix }
}

export function checkMemory({ storage }: Config, totalBytes: number = totalmem()): Finding {
  const check = 'memory'
  const found = `${formatBytes(totalBytes)}; storage.memory_budget takes ${formatBytes(storage.memoryBudget)} at most`
  if (storage.memoryBudget <= totalBytes / 4) return { status: 'ok', check, found }
  return { status: 'warn', check, found, fix: 'set storage.memory_budget to a quarter of the memory or less' }
}

function readLimits(): string | null {
  try {
    return readFileSync('/proc/self/limits', 'utf8')
  } catch {
    return null
  }
}

/** @returns null when the address can be listened on, else the error's code or message. */
function listenProblem({ host, port }: ListenAddress): Promise<string | null> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(null)))
  })
}

async function nodeAt(address: ListenAddress): Promise<boolean> {
  const api = new ApiClient(formatAddress({ ...address, host: address.host === '::' ? '127.0.0.1' : address.host }))
  try {
    await api.get('/v1/streams', { signal: AbortSignal.timeout(CONNECT_ANSWER_MS) })
    return true
  } catch (error) {
    // A node that asks for a token is a node.
    return error instanceof SluiceError && error.code === 'UNAUTHORIZED'
  } finally {
    api.close()
  }
}
