// Which assignment strategy the members of a group share out by. Pure. Used by Group alone.

import { assert } from '../base/assert.js'
import { SluiceError } from '../base/errors.js'
import type { JoinRequest, MemberProtocol } from './membership.js'

interface Voter {
  readonly protocols: readonly MemberProtocol[]
}

/** @throws SluiceError INCONSISTENT_GROUP_PROTOCOL when who wants to join shares no protocol with the members; INVALID_REQUEST for none at all. */
export function checkProtocols(
  group: string,
  spoken: string | undefined,
  members: readonly Voter[],
  { protocolType, protocols }: Pick<JoinRequest, 'protocolType' | 'protocols'>,
): void {
  if (protocols.length === 0) throw new SluiceError('INVALID_REQUEST', 'a member brings at least one protocol')
  if (members.length === 0) return
  const shared = sharedProtocols(members)
  if (protocolType === spoken && protocols.some(({ name }) => shared.includes(name))) return
  const known = `${spoken}: ${shared.join(', ')}`
  const brought = `${protocolType}: ${protocols.map(({ name }) => name).join(', ')}`
  throw new SluiceError(
    'INCONSISTENT_GROUP_PROTOCOL',
    `the members of group ${group} share out by ${known}, this one by ${brought}: let it name one of theirs, or use another group`,
    { group, protocol_type: spoken, protocols: shared },
  )
}

/** Names that all of them know, in the order of the first. @param voters At least one. */
function sharedProtocols([first, ...others]: readonly Voter[]): string[] {
  const names = first.protocols.map(({ name }) => name)
  return names.filter((name) => others.every(({ protocols }) => protocols.some((one) => one.name === name)))
}

/** Each votes for the first of its protocols that all know; ties go to the first voted for. */
export function electProtocol(voters: readonly Voter[]): string {
  const shared = sharedProtocols(voters)
  const votes = new Map<string, number>()
  for (const { protocols } of voters) {
    const choice = protocols.find(({ name }) => shared.includes(name))
    if (choice !== undefined) votes.set(choice.name, (votes.get(choice.name) ?? 0) + 1)
  }
  const winner = [...votes].sort((a, b) => b[1] - a[1])[0]
  assert(winner !== undefined, 'members of a group share a protocol')
  return winner[0]
}
