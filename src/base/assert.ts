// Invariants, on in production: when one is broken the process must end and recover from disk rather than go on guessing.

export class BrokenInvariant extends Error {
  override readonly name = 'BrokenInvariant'
}

/** @throws BrokenInvariant when `condition` is false: a bug of ours, never a consequence of input. */
export function assert(condition: boolean, invariant: string): asserts condition {
  if (!condition) throw new BrokenInvariant(`broken invariant: ${invariant}`)
}
