// What is acknowledged is counted in a segment's file `live` a moment later. A copy that is to stand for a killed node's directory waits for
// that, so that a test may cut off whatever it likes.

import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { readLiveFile } from '../../src/log/live-file.js'
import { checkWal } from '../../src/state/wal-check.js'

/** Resolves once every write to the stream is counted. Nothing may be written meanwhile. */
export async function witnessed(dataDirectory: string, stream = 's'): Promise<void> {
  const root = join(dataDirectory, 'streams', stream)
  for (const name of (await readdir(root)).filter((one) => /^\d+$/.test(one))) {
    const directory = join(root, name)
    if (!(await readdir(directory)).includes('live')) continue
    const { lastSequence } = await checkWal(directory)
    while (((await readLiveFile(directory))?.count ?? 0) < lastSequence) await wait(1)
  }
}
