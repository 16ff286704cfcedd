import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { filtersOverlap } from '../../src/base/filters-overlap.js'
import { topicMatches } from '../../src/base/topic-filter.js'
import { TopicTree } from '../../src/mqtt/topic-tree.js'
import { randomFrom } from './seeded-random.js'

const WORDS = ['a', 'b', '', '$x']

function randomTopic(random: () => number, wild: boolean): string {
  const levels = Array.from({ length: 1 + Math.floor(random() * 4) }, () => {
    if (wild && random() < 0.3) return '+'
    return WORDS[Math.floor(random() * WORDS.length)]
  })
  if (wild && random() < 0.3) levels.push('#')
  return levels.join('/') || 'a'
}

test('the tree finds exactly the filters that match, while filters come and go', () => {
  const { random, seed } = randomFrom()
  const tree = new TopicTree<{ filter: string }>()
  const present = new Map<string, { filter: string }>()
  for (let i = 0; i < 20_000; i++) {
    const filter = randomTopic(random, true)
    if (random() < 0.5) {
      const subscriber = present.get(filter) ?? { filter }
      present.set(filter, subscriber)
      tree.add(filter, subscriber, 1)
    } else if (present.has(filter)) {
      tree.remove(filter, present.get(filter)!)
      present.delete(filter)
    }
    const topic = randomTopic(random, false)
    const found = [...tree.match(topic).keys()].map((one) => one.filter).sort()
    const expected = [...present.keys()].filter((one) => topicMatches(one, topic)).sort()
    assert.equal(found, expected, `seed ${seed}: ${topic}`)
  }
})

test('a subscriber with several matching filters is found once, with the highest QoS', () => {
  const tree = new TopicTree<object>()
  const subscriber = {}
  tree.add('a/#', subscriber, 0)
  tree.add('a/+', subscriber, 2)
  tree.add('a/b', subscriber, 1)
  assert.equal([...tree.match('a/b')], [[subscriber, 2]])
  tree.remove('a/+', subscriber)
  assert.equal([...tree.match('a/b')], [[subscriber, 1]])
  tree.add('a/b', subscriber, 0)
  assert.equal([...tree.match('a/b')], [[subscriber, 0]])
})

test('two filters overlap whenever some topic name matches both', () => {
  const { random, seed } = randomFrom()
  for (let i = 0; i < 50_000; i++) {
    const [a, b, topic] = [randomTopic(random, true), randomTopic(random, true), randomTopic(random, false)]
    if (topicMatches(a, topic) && topicMatches(b, topic))
      assert.ok(filtersOverlap(a, b), `seed ${seed}: ${a} ${b} ${topic}`)
  }
  for (const [a, b] of [
    ['a/b', 'a/c'],
    ['a/+', 'a'],
    ['a/+/c', 'a/b/d/#'],
    ['x/#', 'y/#'],
  ])
    assert.not(filtersOverlap(a, b), `${a} ${b}`)
})

test.run()
