// Random numbers that can be had again: a failing random test prints its seed, and SLUICE_TEST_SEED runs it once more.

import { randomInt } from 'node:crypto'

export class SeededRandom {
  private state: number

  constructor(readonly seed: number = Number(process.env['SLUICE_TEST_SEED'] ?? randomInt(2 ** 31))) {
    this.state = seed >>> 0
  }

  /** From [0, 1), always the same sequence for one seed (mulberry32). */
  next(): number {
    this.state = (this.state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(this.state ^ (this.state >>> 15), this.state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
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
