// V8's young generation, held small. It grows to twice 16 MB under load and never gives them back, for fewer of the collections that cost what they find
// alive; a broker leaves little alive. Its limit can be set on the command line of Node only, but V8 asks a flag by how much it grows each time it does.

import { getHeapSpaceStatistics, setFlagsFromString } from 'node:v8'

/** Of one of its two halves. */
const HALF_MB = 4
const MB = 1024 * 1024
/** Objects made at a time, of which most are alive when it is collected: then it grows. */
const MADE = 5_000
const MAX_ROUNDS = 50

/** Holds it at twice 4 MB, unless the limit is set in another way (`NODE_OPTIONS=--max-semi-space-size=16`). Takes some milliseconds. */
export function holdYoungGeneration(options: readonly string[] = nodeOptions()): void {
  if (options.some((option) => /^--(max|min)[-_]semi[-_]space[-_]size/.test(option))) return
  setFlagsFromString(`--semi-space-growth-factor=${HALF_MB}`)
  for (let round = 0; round < MAX_ROUNDS && youngGenerationMb() < 2 * HALF_MB; round++) makeObjects()
  setFlagsFromString('--semi-space-growth-factor=1')
}

export function youngGenerationMb(): number {
  const young = getHeapSpaceStatistics().find(({ space_name }) => space_name === 'new_space')
  return (young?.space_size ?? 0) / MB
}

function nodeOptions(): string[] {
  return [...process.execArgv, ...(process.env['NODE_OPTIONS'] ?? '').split(/\s+/)]
}

function makeObjects(): number {
  const alive: { readonly value: number }[] = []
  for (let i = 0; i < MADE; i++) alive.push({ value: i })
  return alive.length
}
