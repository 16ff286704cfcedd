// Who is subscribed to what: filters in a tree of levels, matched against topic names. Used by the fan-out (cached per topic by the router)
// and the session pump. Wildcards in the first level do not match names that begin with `$` [MQTT-4.7.2-1]; `a/#` matches `a`.

import type { Qos } from '../record/record.js'

/** Each subscriber once, with the highest QoS among its matching subscriptions [MQTT-3.3.5-1]. */
export type Matches<S> = Map<S, Qos>

class Level<S> {
  readonly children = new Map<string, Level<S>>()
  readonly subscribers = new Map<S, Qos>()
  get isEmpty(): boolean {
    return this.children.size === 0 && this.subscribers.size === 0
  }
}

export class TopicTree<S extends object> {
  /** Changes whenever a cached match may have become wrong. */
  version = 0
  private readonly root = new Level<S>()

  /** Adds a valid filter, or replaces the QoS it was subscribed with. */
  add(filter: string, subscriber: S, qos: Qos): void {
    let level = this.root
    for (const word of filter.split('/')) {
      let child = level.children.get(word)
      if (child === undefined) level.children.set(word, (child = new Level()))
      level = child
    }
    level.subscribers.set(subscriber, qos)
    this.version += 1
  }

  remove(filter: string, subscriber: S): void {
    const path: [Level<S>, string][] = []
    let level: Level<S> | undefined = this.root
    for (const word of filter.split('/')) {
      path.push([level, word])
      level = level.children.get(word)
      if (level === undefined) return
    }
    level.subscribers.delete(subscriber)
    for (let i = path.length - 1; i >= 0; i--) {
      const [parent, word] = path[i]
      if (!parent.children.get(word)!.isEmpty) break
      parent.children.delete(word)
    }
    this.version += 1
  }

  match(mqttTopic: string): Matches<S> {
    const found: Matches<S> = new Map()
    const words = mqttTopic.split('/')
    collect(this.root, words, 0, words[0].startsWith('$'), found)
    return found
  }
}

function collect<S>(
  level: Level<S>,
  words: readonly string[],
  depth: number,
  dollar: boolean,
  found: Matches<S>,
): void {
  const wildcards = !(dollar && depth === 0)
  const rest = wildcards ? level.children.get('#') : undefined
  if (rest !== undefined) take(rest, found)
  if (depth === words.length) {
    take(level, found)
    return
  }
  const exact = level.children.get(words[depth])
  if (exact !== undefined) collect(exact, words, depth + 1, dollar, found)
  const single = wildcards ? level.children.get('+') : undefined
  if (single !== undefined) collect(single, words, depth + 1, dollar, found)
}

function take<S>(level: Level<S>, found: Matches<S>): void {
  for (const [subscriber, qos] of level.subscribers) {
    const known = found.get(subscriber)
    if (known === undefined || known < qos) found.set(subscriber, qos)
  }
}
