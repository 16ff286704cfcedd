// Prints records until there are enough. Both ways of consuming share it; what it says it has printed, the reader of stdout has.

import type { Output } from './output.js'
import type { ApiRecord, RecordFormatter } from './record-format.js'

export class RecordPrinter {
  printed = 0
  private turn: Promise<unknown> = Promise.resolve()

  /** @param wanted How many to print; infinity for all there are. */
  constructor(
    private readonly stdout: Output,
    private readonly format: RecordFormatter,
    private readonly wanted: number,
  ) {}

  get isDone(): boolean {
    return this.printed >= this.wanted
  }

  /** How many more it takes; for the next request. */
  get missing(): number {
    return this.wanted - this.printed
  }

  /**
   * Prints as many of the records as are still wanted, after those of earlier calls.
   * @returns those that stdout has taken: all, the first few when enough have been printed, or none when nobody reads any more.
   */
  print(records: readonly ApiRecord[]): Promise<readonly ApiRecord[]> {
    const print = async (): Promise<readonly ApiRecord[]> => {
      const chosen = records.slice(0, Math.min(records.length, this.missing))
      if (chosen.length === 0) return chosen
      if (!(await this.stdout.deliver(Buffer.concat(chosen.map(this.format))))) return []
      this.printed += chosen.length
      return chosen
    }
    const printing = this.turn.then(print)
    this.turn = printing
    return printing
  }
}
