// Changes bytes of what a stream keeps with its records. SLUICE_TEST_SEED repeats a run, SLUICE_TEST_DAMAGES=2000 makes a longer one.

import { cpSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { SluiceError } from '../../../src/base/errors.js'
import { Logger } from '../../../src/base/logger.js'
import { Segment } from '../../../src/log/segment.js'
import { factOperation } from '../../../src/log/segment-facts.js'
import { SEGMENT_FORMAT } from '../../../src/log/segment-index.js'
import { prepareSegment } from '../../../src/log/segment-writer.js'
import type { PartitionId } from '../../../src/record/record.js'
import { openLog, recordOf, type TestLog } from '../../helpers/open-log.js'
import { withSeed } from '../../helpers/seeded-random.js'
import { tempDirInMemory } from '../../helpers/temp-dir.js'
import { witnessed } from '../../helpers/witnessed.js'

const DAMAGES = Number(process.env['SLUICE_TEST_DAMAGES'] ?? 40)
const P0 = 0 as PartitionId
const FACTS = new Map([
  ['qos2/device-1/77/1', ''],
  ['numbered/serial/meter', 'twelve bytes'],
  ['passed/0', '00000008'],
])

async function openLoud(directory: string): Promise<{ node: TestLog; said: () => string }> {
  let said = ''
  const logger = new Logger('log', 'error', (line) => {
    said += line
  })
  return { node: await openLog(directory, [{ name: 's' }], { logger }), said: () => said }
}

/** A sealed segment in which facts were changed and removed before it came to FACTS. */
async function sealedSegment(): Promise<{ directory: string; table: string }> {
  const directory = join(tempDirInMemory(), '000000000001')
  const prepared = await prepareSegment(directory, { writeBufferBytes: 1 << 20, laidOutBytes: 0 })
  const header = { format: SEGMENT_FORMAT, stream: 's', sequence: 1, createdAtMs: 0, poweredOnMs: 0 } as const
  const before = new Map([
    ['numbered/serial/meter', Buffer.from('eleven byte')],
    ['qos2/device-1/77/2', Buffer.alloc(0)],
  ])
  const segment = await Segment.birth(prepared, { ...header, bases: [0], epochs: [0] } as const, before)
  const { key } = factOperation('qos2/device-1/77/2', Buffer.alloc(0))
  await segment.write(
    [{ type: 'del', key }, ...[...FACTS].map(([name, value]) => factOperation(name, Buffer.from(value)))],
    () => {},
  )
  segment.topics.add(Buffer.from('plant/1/temp'))
  segment.topics.add(Buffer.from('plant/2/temp'))
  await segment.seal()
  const [table] = readdirSync(directory).filter((name) => name.endsWith('.ldb'))
  return { directory, table: join(directory, table) }
}

test('whichever byte of a table changes, a fact is what was stored or is known to be lost, and so is a list of topics', async () => {
  const { directory, table } = await sealedSegment()
  const sound = readFileSync(table)
  const counts = { unnoticed: 0, facts: 0, topics: 0, unreadable: 0 }
  await withSeed(async (random) => {
    for (let at = 0; at < sound.length; at++) {
      const changed = Buffer.from(sound)
      changed[at] ^= 1 << random.below(8)
      writeFileSync(table, changed)
      const segment = (await Segment.openSealed(directory)) as Segment
      try {
        assert.ok(segment !== null)
        const { facts, damaged, complete } = await segment.facts()
        for (const [name, value] of facts) {
          if (complete) assert.is(value.toString(), FACTS.get(name), `byte ${at}: ${name}`)
        }
        const isWhole = complete && damaged.length === 0
        if (isWhole) assert.is(facts.size, FACTS.size, `byte ${at}`)
        else counts.facts += 1
        const topics = await segment.topicNames().catch((error) => {
          assert.is(error.code, 'CORRUPT_MESSAGE', `byte ${at}: ${error}`)
          counts.topics += 1
          return null
        })
        if (topics !== null) assert.equal(topics, ['plant/1/temp', 'plant/2/temp'], `byte ${at}`)
        if (isWhole && topics !== null) counts.unnoticed += 1
      } catch (error) {
        assert.is((error as SluiceError).code, 'CORRUPT_MESSAGE', `byte ${at}: ${error}`)
        counts.unreadable += 1
      }
      await segment.close()
    }
  })
  console.log(`${sound.length} bytes: ${JSON.stringify(counts)}`)
  assert.ok(counts.facts > 60 && counts.topics > 30, 'the damage reached what it was meant for')
})

const VALUE = 'twelve bytes'
const DAMAGED_FACTS = [
  { what: 'a value', at: 0, left: ['passed/0', 'qos2/device-1/77/1', 'qos2/device-1/77/3'] },
  // Then nobody knows whether the others are what they were last.
  { what: 'a check', at: VALUE.length, left: ['passed/0'] },
]
for (const { what, at, left } of DAMAGED_FACTS) {
  test(`a start with facts damaged in ${what} forgets what may not hold, says so, and goes on`, async () => {
    const directory = tempDirInMemory()
    let { node, said } = await openLoud(directory)
    const stream = node.log.stream('s')
    stream.append(P0, recordOf('a'))
    for (const [name, value] of FACTS) stream.setFact(name, Buffer.from(value))
    await stream.setFact('qos2/device-1/77/3', Buffer.alloc(0)).durable()
    await node.close()
    const segment = join(directory, 'streams', 's', '000000000001')
    const [table] = readdirSync(segment).filter((name) => name.endsWith('.ldb'))
    const bytes = readFileSync(join(segment, table))
    bytes[bytes.indexOf(VALUE) + at] ^= 4
    writeFileSync(join(segment, table), bytes)
    for (let start = 0; start < 2; start++) {
      ;({ node, said } = await openLoud(directory))
      assert.match(said(), /facts .* are damaged and are forgotten.*numbered\/serial\/meter/)
      assert.equal([...node.log.stream('s').facts('').keys()], left)
      // The next segment begins without them.
      if (start === 1) await node.log.stream('s').append(P0, recordOf('b')).durable()
      await node.close()
    }
    ;({ node, said } = await openLoud(directory))
    assert.is(said(), '')
    assert.is(node.log.stream('s').facts('').size, left.length)
    await node.close()
  })
}

test('whichever byte of the log of a killed node changes or is cut off, no fact comes back that held no longer', async () => {
  const { node } = await openLoud(tempDirInMemory())
  const stream = node.log.stream('s')
  for (let i = 0; i < 20; i++) {
    stream.append(P0, recordOf(`${i}:${'x'.repeat(50)}`))
    stream.setFact('qos2/device-1/77/1', Buffer.alloc(0))
    await stream.setFact('numbered/serial/meter', Buffer.from(String(i))).durable()
    await stream.setFact('qos2/device-1/77/1', null).durable()
  }
  await witnessed(node.directory)
  const source = tempDirInMemory()
  cpSync(node.directory, source, { recursive: true })
  await node.close()
  const inSegment = join('streams', 's', '000000000001')
  const [log] = readdirSync(join(source, inSegment)).filter((name) => name.endsWith('.log'))
  const sound = readFileSync(join(source, inSegment, log))
  const used = sound.findLastIndex((byte) => byte !== 0) + 1
  await withSeed(async (random) => {
    for (let i = 0; i < DAMAGES; i++) {
      const directory = tempDirInMemory()
      cpSync(source, directory, { recursive: true })
      const path = join(directory, inSegment, log)
      const at = random.below(used)
      if (i % 4 === 0) truncateSync(path, at)
      else {
        const changed = Buffer.from(sound)
        changed[at] ^= 1 << random.below(8)
        writeFileSync(path, changed)
      }
      for (let start = 0; start < 2; start++) {
        const again = await openLoud(directory)
        const facts = again.node.log.stream('s').facts('')
        assert.not.ok(facts.has('qos2/device-1/77/1'), `${i % 4 === 0 ? 'cut' : 'changed'} at ${at} of ${used}`)
        const number = facts.get('numbered/serial/meter')
        assert.ok(number === undefined || number.toString() === '19', `${number} with byte ${at} of ${used}`)
        if (number === undefined && start === 0)
          assert.match(again.said(), /forgotten|set aside|lost its end|is damaged/)
        await again.node.close()
      }
      rmSync(directory, { recursive: true })
    }
  })
})

test.run()
