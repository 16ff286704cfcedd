// What a device may publish to and subscribe to: valid names, and those of its own filters.

import { filterCovers, topicFilterProblem, topicMatches, topicNameProblem } from '../../src/index.js'
import type { KnownDevice } from './device-table.js'

export { topicNameProblem }

/** @param topicName Without the prefix of the device; valid. */
export function mayUseTopic({ topics }: KnownDevice, topicName: string): boolean {
  return topics.some((filter) => topicMatches(filter, topicName))
}

/** @param filter Without the prefix. Whether everything it can bring is the device's to have. */
export function maySubscribe({ topics, topicPrefix }: KnownDevice, filter: string): boolean {
  // $share belongs to programs; $SYS and the like to the node.
  if (topicFilterProblem(filter) !== null || `${topicPrefix}${filter}`.startsWith('$')) return false
  return topics.some((cover) => filterCovers(cover, filter))
}

export function hasWildcard(filter: string): boolean {
  return /[+#]/.test(filter)
}
