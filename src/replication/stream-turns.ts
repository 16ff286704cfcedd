// Whose turn it is to send: fair queueing over bytes. Each stream has a clock of its own that runs on by what it sends, divided by its weight;
// of those that have something to send, the one whose clock is furthest behind is next, and its partitions take turns. So a stream of weight 8
// gets eight times the bytes of one of weight 1 while both have something to send, whatever the sizes of their records, and the
// lightest one comes round after a known number of bytes.
//
//   clock     alarms (weight 8)     ──▶ 125 after 1000 bytes         what was idle begins at `now`, less an allowance: it has saved nothing up.
//             telemetry (weight 1)  ──▶ 1000 after 1000 bytes        The allowance is for a stream that is only waiting for the disk, and
//             now                   ──▶ of the latest to be served    shall have its share all the same.
//
// A lane whose next shipment is still being made ready keeps its place in line. Where there is time for it, whoever takes waits for it: the others
// would have its share in the meantime. Where there is not, they go before it, and it is allowed the same.
//
// Pure: knows no time, does no I/O.

export interface TakesTurns {
  /** What lanes share a turn by: the same object for all lanes of a stream. */
  readonly turnsWith: object
  /** Bytes it gets, relative to the others; more than 0. */
  readonly weight: number
  /** It has something to send, which is being read or packed; it enters again, or the line is looked at again, when that is done. */
  readonly preparing: boolean
  /** True while it stands in line. */
  queued: boolean
}

interface Share<L> {
  readonly lanes: L[]
  clock: number
  /** Of the shipments it sends, bytes; what was long ago counts less. */
  largest: number
}

/** What is sent before others are looked at again. */
const TURN_BYTES = 2 * 1024
/** The allowance, in shipments. */
const ALLOWED_SHIPMENTS = 2
/** What is left of the largest shipment with each that follows. */
const FADING = 0.99

export class StreamTurns<L extends TakesTurns> {
  /** Those with a lane in line. */
  private readonly inLine: Share<L>[] = []
  private readonly shares = new WeakMap<object, Share<L>>()
  private now = 0
  private turnLeft = 0

  /** The lane has something to send, or may have. */
  enter(lane: L): void {
    if (lane.queued) return
    lane.queued = true
    const share = this.shareOf(lane)
    if (share.lanes.push(lane) > 1) return
    this.inLine.push(share)
    allow(share, this.now)
  }

  /**
   * The lane to send from now; it no longer stands in line. Follow each shipment with `spent`.
   * @param mayWait There is time until the next shipment has to leave.
   * @returns undefined where there is none, or where the one whose turn it is had better be waited for.
   */
  take(mayWait = false): L | undefined {
    let next: Share<L> | undefined
    for (const share of this.inLine)
      if ((next === undefined || share.clock < next.clock) && (mayWait || isReady(share))) next = share
    if (next === undefined || !isReady(next)) return undefined
    this.now = Math.max(this.now, next.clock)
    for (const share of this.inLine) allow(share, next.clock)
    this.turnLeft = TURN_BYTES
    const [lane] = next.lanes.splice(next.lanes.findIndex(isPrepared), 1)
    lane.queued = false
    if (next.lanes.length === 0) this.inLine.splice(this.inLine.indexOf(next), 1)
    return lane
  }

  /** @returns whether the lane may go on. */
  spent(lane: L, bytes: number): boolean {
    const share = this.shareOf(lane)
    share.clock += bytes / lane.weight
    share.largest = Math.max(bytes, share.largest * FADING)
    this.turnLeft -= bytes
    return this.turnLeft > 0
  }

  private shareOf({ turnsWith }: L): Share<L> {
    let share = this.shares.get(turnsWith)
    if (share === undefined) this.shares.set(turnsWith, (share = { lanes: [], clock: this.now, largest: 0 }))
    return share
  }
}

/** What it may be behind. */
function allow<L extends TakesTurns>(share: Share<L>, now: number): void {
  const allowance = Math.max(TURN_BYTES, ALLOWED_SHIPMENTS * share.largest) / share.lanes[0].weight
  share.clock = Math.max(share.clock, now - allowance)
}

function isReady<L extends TakesTurns>({ lanes }: Share<L>): boolean {
  return lanes.some(isPrepared)
}

function isPrepared({ preparing }: TakesTurns): boolean {
  return !preparing
}
