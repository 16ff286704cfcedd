// Where something will be that does not exist yet: the folder on whose disk it is going to be made.

import { existsSync } from 'node:fs'
import { dirname } from 'node:path'

export function nearestExisting(path: string): string {
  let at = path
  while (!existsSync(at) && dirname(at) !== at) at = dirname(at)
  return at
}
