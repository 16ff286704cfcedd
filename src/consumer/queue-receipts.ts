// A receipt names one handing out of one message: PARTITION-OFFSET-LEASE, and -INCARNATION where the stream is a mirror that has taken the place of
// another. So a receipt of the former one is never taken for one of a message at the same offset now.

import { randomBytes } from 'node:crypto'
import { SluiceError } from '../base/errors.js'

const RECEIPT = /^(\d{1,9})-(\d{1,16})-([0-9a-z]{1,32})(?:-(\d{1,9}))?$/

export interface Receipt {
  readonly partition: number
  readonly offset: number
  readonly lease: string
}

export class QueueReceipts {
  /** Leases of an earlier process are never taken for those of this one. */
  private readonly run = randomBytes(4).toString('hex')
  private count = 0

  constructor(private readonly incarnation: number) {}

  newLease(): string {
    this.count += 1
    return `${this.run}${this.count.toString(36)}`
  }

  format({ partition, offset, lease }: Receipt): string {
    const receipt = `${partition}-${offset}-${lease}`
    return this.incarnation === 1 ? receipt : `${receipt}-${this.incarnation}`
  }

  /** @returns null for one of another incarnation. @throws SluiceError INVALID_REQUEST for what is no receipt. */
  parse(receipt: string): Receipt | null {
    const match = RECEIPT.exec(receipt)
    if (match === null) throw notAReceipt(receipt)
    const [, partition, offset, lease, incarnation = '1'] = match
    if (Number(incarnation) !== this.incarnation) return null
    return { partition: Number(partition), offset: Number(offset), lease }
  }
}

export function notAReceipt(receipt: string): SluiceError {
  return new SluiceError('INVALID_REQUEST', `${JSON.stringify(receipt.slice(0, 80))} is not a receipt of this queue`)
}
