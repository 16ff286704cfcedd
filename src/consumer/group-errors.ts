// What a group tells its members when they cannot go on as they are.

import { SluiceError } from '../base/errors.js'

export function rebalancing(group: string, generation: number): SluiceError {
  const message = `group ${group} is sharing out its partitions anew: commit what is done and join again`
  return new SluiceError('REBALANCE_IN_PROGRESS', message, { group, generation })
}

export function unknownMember(group: string, memberId: string): SluiceError {
  const message = `group ${group} has no member ${memberId}: it has left or was not heard of in time; join again`
  return new SluiceError('UNKNOWN_MEMBER_ID', message, { group, member_id: memberId })
}

export function fenced(group: string, instanceId: string): SluiceError {
  const message = `another process has joined group ${group} as ${instanceId}: run only one under that name`
  return new SluiceError('FENCED_INSTANCE_ID', message, { group, instance_id: instanceId })
}
