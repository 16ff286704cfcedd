// skeleton
import type { Offset } from '../record/record.js'
/** The next offset that a destination has not acknowledged, per partition; survives restarts. */
export interface Cursors {
  get(destination: string, stream: string, partition: number): Offset | undefined
  /** Durable when it resolves; grouped with others. */
  set(destination: string, stream: string, partition: number, next: Offset): Promise<void>
  /** All cursors of one stream: what retention asks before it drops a segment. */
  ofStream(stream: string): readonly { destination: string; partition: number; next: Offset }[]
  /** Forgets a destination that left the configuration. */
  remove(destination: string): Promise<void>
}
