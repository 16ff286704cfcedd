// Random numbers that can be had again: a failing random test prints its seed, and SLUICE_TEST_SEED runs it once more.

import { randomInt } from 'node:crypto'
import { type Random, seededRandom } from '../../firmware-bridge/sim/random.js'

export class SeededRandom {
  /** From [0, 1), always the same sequence for one seed. */
  readonly next: Random

  constructor(readonly seed: number = Number(process.env['SLUICE_TEST_SEED'] ?? randomInt(2 ** 31))) {
    this.next = seededRandom(seed)
  }

  /** A whole number from [0, bound). */
  below(bound: number): number {
    return Math.floor(this.next() * bound)
  }

  chance(probability: number): boolean {
    return this.next() < probability
  }

  shuffle<T>(items: readonly T[]): T[] {
    const shuffled = [...items]
    for (let i = shuffled.length - 1; i > 0; i--) {
      const j = this.below(i + 1)
      ;[shuffled[i], shuffled[j]] = [shuffled[j], shuffled[i]]
    }
    return shuffled
  }
}

/** Runs `body` with a new seed and names it when it fails. */
export async function withSeed(body: (random: SeededRandom) => void | Promise<void>): Promise<void> {
  const random = new SeededRandom()
  try {
    await body(random)
  } catch (error) {
    process.stdout.write(`seed ${random.seed}: run again with SLUICE_TEST_SEED=${random.seed}\n`)
    throw error
  }
}
