// A partition that is added to a stream while it runs, as a fact of the stream (`partition/N`): durable before or with its first record,
// and known to the recovery of a segment that was born without it.

import { Encoder } from 'cbor-x'

const cbor = new Encoder({ useRecords: false })
const FACT_KIND = 'partition/'

export interface AddedPartition {
  /** Where it begins. */
  readonly base: number
  readonly epoch: number
  /** What its owner wants to know of it. */
  readonly label: readonly (string | number)[]
}

export function addedPartitionName(partition: number): string {
  return `${FACT_KIND}${partition}`
}

/** CBOR [base, epoch, label…]. */
export function encodeAddedPartition({ base, epoch, label }: AddedPartition): Buffer {
  return cbor.encode([base, epoch, ...label])
}

export function addedPartition(facts: ReadonlyMap<string, Uint8Array>, partition: number): AddedPartition | null {
  const value = facts.get(addedPartitionName(partition))
  if (value === undefined) return null
  const [base, epoch, ...label] = cbor.decode(value) as [number, number, ...(string | number)[]]
  return { base, epoch, label }
}
