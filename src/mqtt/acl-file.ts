// Who may read and write which topics, from a mosquitto ACL file, read as it is. Fails closed: an empty file or a line that cannot be
// understood forbids everything, and `problem` says why.
//
//   user NAME                                        the topic lines below are for this user
//   topic [read|write|readwrite|deny] FILTER         before any user line: for clients without a user name
//   pattern [read|write|readwrite|deny] FILTER       for everybody; %c is the client identifier, %u the user name
//
// Only spaces part words; a comment begins in the first column.
//
// As in mosquitto: denials come first; a user's own lines are asked before the patterns; what no line allows is forbidden; a client
// whose identifier or name holds a wildcard gets nothing from patterns (CVE-2017-7650).

import { filterCovers } from '../base/filter-cover.js'
import { filtersOverlap } from '../base/filters-overlap.js'
import { topicFilterProblem, topicMatches } from '../base/topic-filter.js'

export type AccessKind = 'publish' | 'subscribe' | 'receive'

export interface Who {
  readonly clientId: string
  readonly username?: string | undefined
}

const READ = 1
const WRITE = 2
const ACCESS: ReadonlyMap<string, number> = new Map([
  ['deny', 0],
  ['read', READ],
  ['write', WRITE],
  ['readwrite', READ | WRITE],
])

interface Rule {
  readonly filter: string
  /** 0: denied. */
  readonly access: number
}

export class AclFile {
  /** Why everything is forbidden, as a phrase; null when the file is sound. */
  readonly problem: string | null
  private readonly anonymous: Rule[] = []
  private readonly users = new Map<string, Rule[]>()
  private readonly patterns: Rule[] = []

  constructor(text: string) {
    this.problem = this.parse(text)
    for (const rules of [this.anonymous, this.patterns, ...this.users.values()]) rules.sort(denialsFirst)
  }

  /** @param topic A topic name; for `subscribe` a filter, allowed if anything it can match may be read. */
  allows(who: Who, kind: AccessKind, topic: string): boolean {
    if (this.problem !== null) return false
    const own = (who.username === undefined ? this.anonymous : this.users.get(who.username)) ?? []
    const access = kind === 'publish' ? WRITE : READ
    const matches = kind === 'subscribe' ? filtersOverlap : topicMatches
    // Each delivery is asked about again.
    const verdict =
      judge(own, access, topic, matches, kind === 'subscribe') ?? this.byPattern(who, access, topic, matches, kind)
    return verdict ?? false
  }

  private byPattern(who: Who, access: number, topic: string, matches: Matcher, kind: AccessKind): boolean | null {
    if (this.patterns.length === 0 || /[+#]/.test(who.clientId) || /[+#]/.test(who.username ?? '')) return null
    const rules: Rule[] = []
    for (const { filter, access: granted } of this.patterns) {
      if (who.username === undefined && filter.includes('%u')) continue
      const filled = filter.replace(/%[cu]/g, (which) => (which === '%c' ? who.clientId : (who.username ?? '')))
      rules.push({ filter: filled, access: granted })
    }
    return judge(rules, access, topic, matches, kind === 'subscribe')
  }

  private parse(text: string): string | null {
    let rules = this.anonymous
    let lines = 0
    for (const [index, raw] of text.split('\n').entries()) {
      const line = raw.trimEnd()
      if (line === '' || line.startsWith('#')) continue
      lines += 1
      const [, keyword, rest] = /^ *([^ ]+) *(.*)$/s.exec(line)!
      if (keyword === 'user' && rest !== '') {
        rules = this.users.get(rest) ?? []
        this.users.set(rest, rules)
        continue
      }
      const rule =
        keyword === 'topic' || keyword === 'pattern' ? parseRule(rest) : `does not begin with user, topic or pattern`
      if (typeof rule === 'string') return `line ${index + 1} ${rule}`
      if (keyword === 'topic') rules.push(rule)
      else this.patterns.push(rule)
    }
    return lines === 0 ? 'it allows nothing to anybody' : null
  }
}

type Matcher = (filter: string, topic: string) => boolean

/** @param ofFilter Asked of a filter: a denial that takes only a part of what it matches says nothing. @returns null when no rule says anything. */
function judge(
  rules: readonly Rule[],
  access: number,
  topic: string,
  matches: Matcher,
  ofFilter: boolean,
): boolean | null {
  for (const rule of rules) {
    if (topic.startsWith('$') !== rule.filter.startsWith('$')) continue
    if (rule.access === 0) {
      if (ofFilter ? filterCovers(rule.filter, topic) : matches(rule.filter, topic)) return false
    } else if ((rule.access & access) !== 0 && matches(rule.filter, topic)) return true
  }
  return null
}

function parseRule(rest: string): Rule | string {
  const [, first, more] = /^([^ ]*) *(.*)$/s.exec(rest)!
  const access = ACCESS.get(first)
  const explicit = access !== undefined && more !== ''
  const filter = (explicit ? more : rest).trim()
  if (!explicit && more !== '') return `says "${first}" where read, write, readwrite or deny belongs`
  const problem = topicFilterProblem(filter)
  return problem === null ? { filter, access: explicit ? access : READ | WRITE } : `has a filter that ${problem}`
}

function denialsFirst(a: Rule, b: Rule): number {
  return Number(a.access !== 0) - Number(b.access !== 0)
}
