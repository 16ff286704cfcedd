// What every workload offers to `npm run bench`, and what it is told.

export interface BenchOptions {
  /** A few seconds in all: shows that it works, not what it is worth. */
  readonly quick: boolean
  /** Cores for the broker and for the load, where pinning is possible. */
  readonly brokerCore: number | undefined
  readonly loadCore: number | undefined
  /** Words about how far it is, for people. */
  readonly progress: (text: string) => void
}

export interface WorkloadReport {
  /** Lines to print. */
  readonly text: readonly string[]
  /** The same for programs (`--json`). */
  readonly result: unknown
}

export interface Workload {
  readonly name: string
  readonly summary: string
  run(options: BenchOptions): Promise<WorkloadReport>
}

/** Columns aligned; the first to the left, the others to the right. */
export function formatTable(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)))
  return rows.map((row) =>
    row.map((cell, column) => (column === 0 ? cell.padEnd(widths[column]) : cell.padStart(widths[column]))).join('  '),
  )
}

export const thousands = (rate: number): string => `${(rate / 1000).toFixed(1)} k`
