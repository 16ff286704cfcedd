// [groups]: consumer groups.

import { duration } from '../fields.js'

export const groupsFields = {
  offset_retention: duration({
    description:
      'Committed offsets of a group that nobody has used for so long are forgotten; the time this node is switched off does not count.',
    default: '7d',
    min: '1m',
    max: '10000d',
  }),
}
