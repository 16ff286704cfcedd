// What members of one consumer group saw, and a judge of it. Whoever makes a history, a simulation or real processes, knows nothing of the rules;
// the rules know nothing of how it was made.

/** When something happened: numbers that rise over all members, nodes and processes. */
type Moment = number

interface ByMember {
  /** The process of the node that answered; a later one is larger. */
  readonly node: number
  readonly member: string
  /** Members with one static id count as one. */
  readonly instance?: string
  readonly generation: number
  readonly partition: number
  /** Sent, and answer received. */
  readonly askedAt: Moment
  readonly at: Moment
}

/** A partition was given to a member. */
export type Assigned = ByMember & { readonly what: 'assigned'; readonly position: number }
/** Records [first, end) arrived at a member. */
export type Delivered = ByMember & { readonly what: 'delivered'; readonly first: number; readonly end: number }
/** The node has answered that `offset` is committed. */
export type Committed = ByMember & { readonly what: 'committed'; readonly offset: number }
export type GroupEvent = Assigned | Delivered | Committed

export interface Violation {
  readonly rule:
    | 'every record is delivered'
    | 'no two members of a generation own one partition'
    | 'a member begins where its group has committed, or later'
    | 'a member reads on in order, without a gap'
    | 'nothing is delivered after a commit past it'
    | 'a member whose partition is another’s neither gets records of it nor commits it'
  readonly what: string
}

/** @param ends One past the last record, per partition; what a group reads that begins at 0. */
export function violationsOf(history: readonly GroupEvent[], ends: readonly number[]): Violation[] {
  return ends.flatMap((end, partition) => {
    const events = history.filter((event) => event.partition === partition)
    const assigned = events.filter((event): event is Assigned => event.what === 'assigned')
    const delivered = events.filter((event): event is Delivered => event.what === 'delivered')
    const committed = events.filter((event): event is Committed => event.what === 'committed')
    return [
      ...undelivered(delivered, partition, end),
      ...sharedOwners(assigned),
      ...lateBeginnings(assigned, committed),
      ...gaps(assigned, delivered),
      ...afterCommits(delivered, committed),
      ...unfenced(assigned, [...delivered, ...committed]),
    ]
  })
}

function* undelivered(delivered: readonly Delivered[], partition: number, end: number): Iterable<Violation> {
  const seen = new Uint8Array(end)
  for (const { first, end: past } of delivered) seen.fill(1, first, past)
  const missing = seen.indexOf(0)
  if (missing >= 0) yield { rule: 'every record is delivered', what: `nobody got ${partition}/${missing} of ${end}` }
}

function* sharedOwners(assigned: readonly Assigned[]): Iterable<Violation> {
  const owners = new Map<string, Assigned>()
  for (const event of assigned) {
    const key = `${event.node}/${event.generation}`
    const other = owners.get(key) ?? event
    owners.set(key, event)
    if (who(other) !== who(event))
      yield {
        rule: 'no two members of a generation own one partition',
        what: `${say(event)} and ${say(other)}`,
      }
  }
}

function* lateBeginnings(assigned: readonly Assigned[], committed: readonly Committed[]): Iterable<Violation> {
  for (const event of assigned)
    for (const commit of committed)
      if (isBefore(commit, event) && commit.offset > event.position)
        yield {
          rule: 'a member begins where its group has committed, or later',
          what: `${say(event)} begins at ${event.position}, ${say(commit)} had committed ${commit.offset}`,
        }
}

function* gaps(assigned: readonly Assigned[], delivered: readonly Delivered[]): Iterable<Violation> {
  for (const begin of assigned) {
    const until = assigned
      .filter(({ member, at }) => member === begin.member && at > begin.at)
      .reduce((first, { at }) => Math.min(first, at), Number.POSITIVE_INFINITY)
    let next = begin.position
    for (const { member, at, first, end } of delivered) {
      if (member !== begin.member || at < begin.at || at > until) continue
      if (first !== next)
        yield {
          rule: 'a member reads on in order, without a gap',
          what: `${say(begin)} got ${first}, ${next} was next`,
        }
      next = end
    }
  }
}

function* afterCommits(delivered: readonly Delivered[], committed: readonly Committed[]): Iterable<Violation> {
  for (const event of delivered)
    for (const commit of committed)
      if (commit.at < event.askedAt && commit.offset > event.first)
        yield {
          rule: 'nothing is delivered after a commit past it',
          what: `${say(event)} got ${event.first}, ${say(commit)} had committed ${commit.offset}`,
        }
}

function* unfenced(assigned: readonly Assigned[], acts: readonly (Delivered | Committed)[]): Iterable<Violation> {
  for (const act of acts)
    for (const event of assigned)
      if (
        event.member !== act.member &&
        event.at < act.askedAt &&
        (isBefore(act, event) || hasReplaced(event, act, assigned))
      )
        yield {
          rule: 'a member whose partition is another’s neither gets records of it nor commits it',
          what: `${say(act)} ${act.what}, when it was ${say(event)}'s`,
        }
}

/** Of one static id: the process that came later has taken the other's place, within its generation. */
function hasReplaced(event: Assigned, act: ByMember, assigned: readonly Assigned[]): boolean {
  if (event.node !== act.node || event.generation !== act.generation || who(event) !== who(act)) return false
  // Answers may come in another order than the node gave them: only one that was asked for later is later for sure.
  return assigned.some(({ member, at }) => member === act.member && at < event.askedAt)
}

/** Whether an act belongs to an earlier generation than the beginning. */
function isBefore(act: ByMember, begin: ByMember): boolean {
  return act.node < begin.node || (act.node === begin.node && act.generation < begin.generation)
}

function who({ member, instance }: ByMember): string {
  return instance ?? member
}

function say({ member, generation, partition, node }: ByMember): string {
  return `${member} (node ${node}, generation ${generation}, partition ${partition})`
}
