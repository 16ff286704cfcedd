// Whether a node does its work: it does not while one of its streams takes no records, since its publishers wait for their acks then.

import type { StreamCatalog } from '../log/types.js'

export interface Health {
  readonly ready: boolean
  /** Sentences: why it is not ready. */
  readonly reasons: readonly string[]
}

export function healthOf({ streams }: Pick<StreamCatalog, 'streams'>): Health {
  const reasons: string[] = []
  for (const stream of streams.values()) {
    const { refusal } = stream.stats()
    if (refusal !== null) reasons.push(refusal)
  }
  return { ready: reasons.length === 0, reasons }
}
