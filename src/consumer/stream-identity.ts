// Which stream a position belongs to, for as long as there are records of it. A mirror's name goes to its next incarnation when it is replaced
// (log/mirrors.ts), what was done of the former one must not: the same offsets are other records there. Used by work queues.

import type { Stream } from '../log/types.js'

export interface StreamIdentity {
  /** Of a mirror `ORIGIN.STREAM`, whichever incarnation. */
  readonly stream: string
  /** From 1; always 1 for a stream of this node. */
  readonly incarnation: number
}

export function identityOf({ name, mirrorOf }: Pick<Stream, 'name' | 'mirrorOf'>): StreamIdentity {
  if (mirrorOf === undefined) return { stream: name, incarnation: 1 }
  // No part of it contains a dot; a former incarnation has a third one.
  return { stream: name.split('.', 2).join('.'), incarnation: mirrorOf.incarnation }
}

/** Never changes: a mirror's has its incarnation, `ORIGIN.STREAM.N`, before another replaces it too. */
export function lastingName(stream: Pick<Stream, 'name' | 'mirrorOf'>): string {
  return stream.mirrorOf === undefined ? stream.name : lastingNameOf(identityOf(stream))
}

/** Of an incarnation of a mirror. */
export function lastingNameOf({ stream, incarnation }: StreamIdentity): string {
  return `${stream}.${incarnation}`
}
