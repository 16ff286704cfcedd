// The topic under which an upstream receives a record: a text with placeholders, such as `plant7/{topic}`.

import { topicNameProblem } from '../base/topic-filter.js'

const TOPIC_PLACEHOLDERS = [
  'topic',
  'topic:url',
  'stream',
  'partition',
  'offset',
  'timestamp',
  'node',
  'client_id',
] as const

/** @returns what is wrong with a template, as a phrase that follows "which …", or null if nothing is. */
export function topicTemplateProblem(template: string, known: readonly string[] = TOPIC_PLACEHOLDERS): string | null {
  let unknown: string | null = null
  const filled = template.replace(/\{([^{}]*)\}/g, (_, placeholder: string) => {
    if (!known.includes(placeholder)) unknown ??= placeholder
    return 'x'
  })
  if (unknown !== null) return `names {${unknown}}; there are ${known.map((p) => `{${p}}`).join(', ')}`
  if (/[{}]/.test(filled)) return 'has a brace without its partner'
  return topicNameProblem(filled)
}

/** The topics over there that records of a filter here can get: a filter that matches all of them. */
export function mappedFilter(template: string, filter: string): string {
  const levels: string[] = []
  for (const level of template.split('/')) {
    if (level === '{topic}') levels.push(...filter.split('/'))
    else if (level.includes('{topic}')) levels.push('#')
    else levels.push(level.includes('{') ? '+' : level)
    if (levels.at(-1) === '#') break
  }
  return levels.join('/')
}
