// From a topic there to a topic here: `cmd/#` keeps it, `plant7/+/cmd/# -> devices/+/cmd/#` carries over what each wildcard stood for, in order.
// Used by the downlinks of upstreams.

import { topicFilterProblem, topicMatches } from './topic-filter.js'

export interface TopicMapping {
  /** What is subscribed to over there. */
  readonly from: string
  /** With as many wildcards as `from`, of the same kinds. */
  readonly to: string
}

const ARROW = '->'

/** @returns the mapping, or what is wrong with it, as a phrase that follows "which …". */
export function parseTopicMapping(text: string): TopicMapping | string {
  const parts = text.split(ARROW).map((part) => part.trim())
  if (parts.length > 2) return `has more than one ${ARROW}`
  const [from, to = from] = parts
  for (const [side, filter] of Object.entries({ before: from, after: to })) {
    const problem = topicFilterProblem(filter)
    if (problem !== null) return parts.length === 1 ? problem : `${problem}, ${side} the ${ARROW}`
  }
  if (from.startsWith('$share/')) return 'is a shared subscription, which keeps nothing for one node'
  if (/^[$]/.test(to)) return 'leads to topics that begin with $, which nobody may publish to'
  if (wildcardsOf(from) !== wildcardsOf(to)) return `has other wildcards before the ${ARROW} than after it`
  return { from, to }
}

/** @returns the topic here; null if the mapping is not for this one. */
export function mapTopic({ from, to }: TopicMapping, mqttTopic: string): string | null {
  if (!topicMatches(from, mqttTopic)) return null
  if (from === to) return mqttTopic
  const levels = mqttTopic.split('/')
  const plus: string[] = []
  let rest: string[] = []
  for (const [i, level] of from.split('/').entries()) {
    if (level === '#') rest = levels.slice(i)
    else if (level === '+') plus.push(levels[i])
  }
  return to
    .split('/')
    .flatMap((level) => (level === '+' ? [plus.shift() as string] : level === '#' ? rest : [level]))
    .join('/')
}

function wildcardsOf(filter: string): string {
  return filter.replaceAll(/[^+#]/g, '')
}
