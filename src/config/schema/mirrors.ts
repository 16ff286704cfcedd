// [mirrors]: what is kept of other nodes' streams, and what of them MQTT subscribers here are given.

import { list, parsed, table, text } from '../fields.js'
import { topicTemplateProblem } from '../topic-template.js'
import { quote, Unfit } from '../unfit.js'
import { NAME_FIX } from './names.js'
import { retentionFields } from './stream.js'

const PLACEHOLDERS = ['topic', 'origin', 'stream']

export const mirrorsFields = {
  retention: table('What is kept of all mirrors of one stream name together.', retentionFields),
  republish: list({
    description:
      'The mirrors whose records are given to the MQTT subscribers here: "*.STREAM" for those of all nodes, or "ORIGIN.STREAM". Default: none.',
    of: text({
      description: 'A mirror.',
      pattern: /^([A-Za-z0-9_-]{1,64}|\*)\.[A-Za-z0-9_-]{1,64}$/,
      fix: `write "*.STREAM" or "ORIGIN.STREAM"; of names, ${NAME_FIX}`,
    }),
    default: [],
    maxItems: 1000,
  }),
  republish_topic: parsed(
    {
      description:
        'The topic they are given under. There are {topic}, {origin} (the node they come from) and {stream}.',
      default: '{topic}',
    },
    (written) => {
      const problem = topicTemplateProblem(written, PLACEHOLDERS)
      if (problem === null && written.includes('{topic}')) return written
      return new Unfit(`is ${quote(written)}, which ${problem ?? 'gives every message the same topic: add {topic}'}`)
    },
  ),
}
