// Real damage to stored records: a bit flipped in a table on disk.

import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

/**
 * Flips a bit of `text` where it is stored in the sealed segments of a stream. The log must be closed.
 * @throws Error when it is stored nowhere, or in more than one place.
 */
export async function flipBitIn(dataDirectory: string, stream: string, text: string): Promise<void> {
  const root = join(dataDirectory, 'streams', stream)
  let found = 0
  for (const segment of (await readdir(root)).filter((name) => /^\d+$/.test(name))) {
    for (const name of (await readdir(join(root, segment))).filter((one) => one.endsWith('.ldb'))) {
      const path = join(root, segment, name)
      const bytes = await readFile(path)
      const at = bytes.indexOf(text)
      if (at === -1) continue
      found += 1
      bytes[at] ^= 1
      await writeFile(path, bytes)
    }
  }
  if (found !== 1) throw new Error(`${JSON.stringify(text)} is stored in ${found} places`)
}
