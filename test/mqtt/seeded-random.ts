// Randomness that can be had again: SEED=… in the environment repeats a run, and failing tests print theirs.

import { type Random, seededRandom } from '../../firmware-bridge/sim/random.js'

/** @returns draws from [0, 1), and the seed to print. */
export function randomFrom(seed = Number(process.env['SEED'] ?? Math.floor(Math.random() * 2 ** 31))): {
  random: Random
  seed: number
} {
  return { random: seededRandom(seed), seed }
}
