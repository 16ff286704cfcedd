// test-run: limit 300 s
// Random ACL files are read as mosquitto reads them: who may write and read what is asked of the real broker and of ours, and must agree. A long
// run: ACL_FILES=500 SLUICE_TEST_SEED=12345 node dist/test/mqtt/acl-differential.test.js

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test as uvuTest } from 'uvu'
import * as assert from 'uvu/assert'
import { topicMatches } from '../../src/base/topic-filter.js'
import { AclFile, type Who } from '../../src/mqtt/acl-file.js'
import { Mosquitto, mosquittoMissing } from '../helpers/mosquitto.js'
import { type SeededRandom, withSeed } from '../helpers/seeded-random.js'
import { unlessSkipped } from '../helpers/skip.js'
import { tempDir } from '../helpers/temp-dir.js'
import { connectPacket, publishOf, publishPacket, RawClient, subscribePacket, text } from './raw-client.js'

const test = unlessSkipped(uvuTest, mosquittoMissing)
const FILES = Number(process.env['ACL_FILES'] ?? 2)
const TOPICS = 80
const LEVELS = ['a', 'b', 'c1', 'u1', '', 'a b', 'deny']
const WORDS = ['', 'read ', 'write ', 'readwrite ', 'deny ', 'read  ', 'deny   ']
const CLIENTS: readonly Who[] = [
  { clientId: 'c1', username: 'u1' },
  { clientId: 'c2', username: 'u2' },
  { clientId: 'c1', username: undefined },
  { clientId: 'c3', username: 'not in the file' },
  { clientId: 'c#', username: 'u1' },
  { clientId: 'c4', username: '+' },
  { clientId: 'a/b', username: 'a/u1' },
]
const EVERYTHING: [string, number][] = [
  ['#', 0],
  ['$own/#', 0],
]

test('who may read and write what, by random ACL files, is what mosquitto says', () =>
  withSeed(async (random) => {
    for (let file = 0; file < FILES; file++) await compare(random)
  }))

async function compare(random: SeededRandom): Promise<void> {
  const acl = randomAcl(random)
  const path = join(tempDir(), 'acl')
  writeFileSync(path, acl)
  const mosquitto = await Mosquitto.start({ config: [`acl_file ${path}`] })
  try {
    await compareWith(mosquitto, acl, random)
  } finally {
    await mosquitto.kill()
  }
}

async function compareWith(mosquitto: Mosquitto, acl: string, random: SeededRandom): Promise<void> {
  const ours = new AclFile(acl)
  assert.is(ours.problem, null, acl)
  const topics = [...new Set(Array.from({ length: TOPICS }, () => randomTopic(random)))]
  const admin = await connected(mosquitto.port, { clientId: 'admin', username: 'admin' })
  admin.write(subscribePacket(1, ...EVERYTHING))
  await admin.next()
  for (const who of CLIENTS) {
    await publishEach(mosquitto.port, who, topics)
    same('write', who, topics, await topicsOf(admin), (topic) => ours.allows(who, 'publish', topic), acl)
    const client = await connected(mosquitto.port, who)
    client.write(subscribePacket(1, ...EVERYTHING))
    await client.next()
    admin.write(...topics.map((topic) => publishPacket(topic, 'r')))
    await admin.untilPong()
    const readable = await topicsOf(client)
    same('read', who, topics, readable, (topic) => ours.allows(who, 'receive', topic), acl)
    // mosquitto grants every subscription; ours refuses those that could never bring anything.
    for (let i = 0; i < 50; i++) {
      const filter = randomFilter(random, false)
      const some = [...readable].find((topic) => topicMatches(filter, topic))
      if (some !== undefined && !ours.allows(who, 'subscribe', filter))
        throw new Error(`${nameOf(who)} may read ${some}, but not subscribe to ${filter}, by\n${acl}`)
    }
    client.socket.destroy()
  }
  admin.socket.destroy()
}

function same(
  kind: string,
  who: Who,
  topics: readonly string[],
  theirs: ReadonlySet<string>,
  ours: (topic: string) => boolean,
  acl: string,
): void {
  for (const topic of topics)
    if (ours(topic) !== theirs.has(topic))
      throw new Error(
        `${nameOf(who)}: mosquitto ${theirs.has(topic) ? 'allows' : 'denies'} ${kind} "${topic}", by\n${acl}`,
      )
}

const nameOf = ({ clientId, username }: Who) => `client ${clientId}, user ${username ?? '(none)'}`

/** mosquitto 2.0.11 closes the connection of who publishes what it may not. */
async function publishEach(port: number, who: Who, topics: readonly string[]): Promise<void> {
  let client = await connected(port, who)
  for (const topic of topics) {
    client.write(publishPacket(topic, 'w'))
    await client.untilPong().catch(async () => {
      client = await connected(port, who)
    })
  }
  client.socket.destroy()
}

/** What it has been sent since it was asked last. */
async function topicsOf(client: RawClient): Promise<Set<string>> {
  const packets = await client.untilPong()
  return new Set(packets.filter(({ first }) => first >> 4 === 3).map((one) => publishOf(one).topic))
}

async function connected(port: number, { clientId, username }: Who): Promise<RawClient> {
  const client = await RawClient.open(port)
  const named = username === undefined ? {} : { flags: 0x82, payload: text(username) }
  client.write(connectPacket({ clientId, ...named }))
  assert.is((await client.next())?.body[1], 0)
  return client
}

function randomAcl(random: SeededRandom): string {
  const lines: string[] = []
  const rules = (kind: 'topic' | 'pattern', most: number) => {
    for (let n = random.below(most + 1); n > 0; n--) {
      if (random.chance(0.1)) lines.push('# topic readwrite #', '')
      const filter = randomFilter(random, kind === 'pattern')
      // What stands before a space is taken for read, write, readwrite or deny.
      const word = pick(random, WORDS)
      lines.push(`${kind} ${word === '' && filter.includes(' ') ? 'readwrite ' : word}${filter}`)
    }
  }
  rules('topic', 4)
  // Others are asked as this one, who may do everything.
  lines.push('user admin', 'topic readwrite #', 'topic readwrite $own/#')
  for (const user of ['u1', 'u2', '+', 'a/u1', 'u1']) {
    lines.push(`user ${user}`)
    rules('topic', 5)
  }
  rules('pattern', 4)
  return `${lines.join('\n')}\n`
}

function randomFilter(random: SeededRandom, pattern: boolean): string {
  const levels: string[] = []
  if (random.chance(0.15)) levels.push('$own')
  const special = pattern ? ['+', '+', '%c', '%u', 'x%c', '%u%c'] : ['+', '+']
  for (let n = 1 + random.below(3); n > 0; n--)
    levels.push(
      random.chance(0.4)
        ? pick(random, special)
        : pick(
            random,
            LEVELS.filter((one) => one !== 'deny'),
          ),
    )
  if (random.chance(0.4)) levels.push('#')
  const filter = levels.join('/')
  // A line cannot begin or end its filter with a space, nor be without one.
  return filter === '' ? '/' : filter
}

function randomTopic(random: SeededRandom): string {
  const levels: string[] = random.chance(0.2) ? ['$own'] : []
  for (let n = 1 + random.below(4); n > 0; n--)
    levels.push(random.chance(0.1) ? pick(random, ['xc1', 'u1c1', 'c#', 'a/b', '$own']) : pick(random, LEVELS))
  const topic = levels.join('/').replaceAll(/[+#]/g, '')
  return topic === '' ? '/' : topic
}

function pick<T>(random: SeededRandom, items: readonly T[]): T {
  return items[random.below(items.length)]
}

uvuTest.run()
