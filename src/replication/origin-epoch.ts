// Fencing: two gateways with the same node id (a cloned SD card, an image put back, a name given twice) must not write into one mirror. A node
// keeps a random id per upstream and replaces it at every connect, so that of two copies of a data directory only one can go on:
//
//   the node says   hello(current, next)      having written down both
//   the upstream    remembers X for this node id: X = current or X = next -> remembers next (durable), welcomes
//                   otherwise refuses, until an operator forgets X
//   the node        welcomed: writes down next as current
//
// Lost answers do no harm: the pair that was written down is said again. Sending side; the receiving side is origins.ts.

import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { makeDirectory, writeFileDurably } from '../state/durable-files.js'
import { ORIGIN_EPOCH_BYTES } from './node-protocol.js'

export interface EpochPair {
  readonly current: Buffer
  readonly next: Buffer
}

export class OriginEpoch {
  private readonly path: string
  private pair: EpochPair | null = null

  /** @param directory For one file per upstream; made if missing. */
  constructor(
    private readonly directory: string,
    upstream: string,
  ) {
    this.path = join(directory, upstream)
  }

  /** What to say at a connect; durable when it resolves. @throws SluiceError STORAGE_* */
  async propose(): Promise<EpochPair> {
    const kept = this.pair ?? (await this.read())
    if (kept !== null && !kept.current.equals(kept.next)) return (this.pair = kept)
    const pair = { current: kept?.current ?? randomEpoch(), next: randomEpoch() }
    await this.write(pair)
    return (this.pair = pair)
  }

  /** The upstream has taken `next`. Need not be durable before anything else happens. */
  async confirmed({ next }: EpochPair): Promise<void> {
    const pair = { current: next, next }
    this.pair = pair
    await this.write(pair)
  }

  private async read(): Promise<EpochPair | null> {
    const bytes = await readFile(this.path).catch(() => null)
    if (bytes === null || bytes.length !== 2 * ORIGIN_EPOCH_BYTES) return null
    return { current: bytes.subarray(0, ORIGIN_EPOCH_BYTES), next: bytes.subarray(ORIGIN_EPOCH_BYTES) }
  }

  private async write({ current, next }: EpochPair): Promise<void> {
    await makeDirectory(this.directory)
    await writeFileDurably(this.path, Buffer.concat([current, next]))
  }
}

function randomEpoch(): Buffer {
  return randomBytes(ORIGIN_EPOCH_BYTES)
}
