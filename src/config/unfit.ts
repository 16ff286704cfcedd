// What is said of a value in the configuration that does not fit, and what to do about it. Used by the fields and by the rules that see several of them.

const MAX_QUOTED_CHARACTERS = 80

/** What was written does not fit. `what` follows the key's name in a sentence; `fix` is an instruction. */
export class Unfit {
  constructor(
    readonly what: string,
    readonly fix?: string,
  ) {}
}

export interface Range {
  /** Inclusive. */
  readonly min: number
  /** Inclusive. */
  readonly max: number
}

export function inRange(
  value: number,
  written: string,
  { min, max }: Range,
  show: (bound: number) => string,
): number | Unfit {
  if (value < min)
    return new Unfit(`is ${written}, below the least, ${show(min)}`, `set it from ${show(min)} to ${show(max)}`)
  if (value > max)
    return new Unfit(`is ${written}, above the most, ${show(max)}`, `set it from ${show(min)} to ${show(max)}`)
  return value
}

export function wrongType(written: unknown, wanted: string): Unfit {
  return new Unfit(`is ${describe(written)}`, `write ${wanted}`)
}

/** What was written, by its kind: `the text "abc"`, `the number 7`, `a list`. */
export function describe(written: unknown): string {
  if (Array.isArray(written)) return 'a list'
  if (written instanceof Date) return 'a date'
  if (typeof written === 'string') return `the text ${quote(written)}`
  if (typeof written === 'number' || typeof written === 'bigint') return `the number ${written}`
  return typeof written === 'boolean' ? String(written) : 'a table'
}

export function quote(written: unknown): string {
  const whole = String(written)
  return JSON.stringify(whole.length > MAX_QUOTED_CHARACTERS ? `${whole.slice(0, MAX_QUOTED_CHARACTERS)}…` : whole)
}
