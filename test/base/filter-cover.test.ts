import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { filterCovers } from '../../src/base/filter-cover.js'
import { topicMatches } from '../../src/base/topic-filter.js'

const LEVELS = ['a', 'b', '', '$x', '+']

function allFilters(depth: number): string[] {
  if (depth === 0) return []
  const shorter = allFilters(depth - 1)
  const longer = depth === 1 ? LEVELS : shorter.flatMap((filter) => LEVELS.map((level) => `${filter}/${level}`))
  return [...new Set([...shorter, ...longer])]
}

const PLAIN = allFilters(3)
const FILTERS = [...PLAIN, '#', ...allFilters(2).map((filter) => `${filter}/#`)].filter((filter) => filter !== '')
const TOPICS = [...PLAIN, ...allFilters(4)].filter((filter) => filter !== '' && !filter.includes('+'))

test('a filter covers another exactly when no topic name matches the other alone', () => {
  const matched = new Map(FILTERS.map((filter) => [filter, TOPICS.filter((topic) => topicMatches(filter, topic))]))
  for (const cover of FILTERS) {
    const names = new Set(matched.get(cover))
    for (const filter of FILTERS) {
      const covered = matched.get(filter)?.every((topic) => names.has(topic)) ?? false
      // `/#` would match one more name than `/+/#`, the empty one, if that were a name.
      if (filter === '/#' && covered) continue
      assert.is(filterCovers(cover, filter), covered, `${cover} covers ${filter}`)
    }
  }
})

test.run()
