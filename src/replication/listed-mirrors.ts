// Which mirrors a list in the configuration means: `ORIGIN.STREAM` is one, `*.STREAM` are those of that name of all nodes, also those to come.

import type { MirrorStream } from '../log/mirror-stream.js'

export function covers(
  listed: readonly string[],
  { origin, stream }: Pick<MirrorStream, 'origin' | 'stream'>,
): boolean {
  return listed.includes(`${origin}.${stream}`) || listed.includes(`*.${stream}`)
}
