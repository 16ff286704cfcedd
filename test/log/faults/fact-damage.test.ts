// Changes bytes of what a stream keeps with its records. SLUICE_TEST_SEED repeats a run, SLUICE_TEST_DAMAGES=2000 makes a longer one.

import { cpSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Logger } from '../../../src/base/logger.js'
import type { PartitionId } from '../../../src/record/record.js'
import { openLog, recordOf, type TestLog } from '../../helpers/open-log.js'
import { withSeed } from '../../helpers/seeded-random.js'
import { tempDir } from '../../helpers/temp-dir.js'
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

test('a start with damaged facts forgets them, says so, and goes on', async () => {
  const directory = tempDir()
  let { node, said } = await openLoud(directory)
  const stream = node.log.stream('s')
  stream.append(P0, recordOf('a'))
  for (const [name, value] of FACTS) stream.setFact(name, Buffer.from(value))
  await stream.setFact('qos2/device-1/77/3', Buffer.alloc(0)).durable()
  await node.close()
  const segment = join(directory, 'streams', 's', '000000000001')
  const [table] = readdirSync(segment).filter((name) => name.endsWith('.ldb'))
  const bytes = readFileSync(join(segment, table))
  bytes[bytes.indexOf('twelve bytes')] ^= 4
  writeFileSync(join(segment, table), bytes)
  for (let start = 0; start < 2; start++) {
    ;({ node, said } = await openLoud(directory))
    assert.match(said(), /facts .* are damaged and are forgotten.*numbered\/serial\/meter/)
    assert.equal([...node.log.stream('s').facts('').keys()], ['passed/0', 'qos2/device-1/77/1', 'qos2/device-1/77/3'])
    // The next segment begins without them.
    if (start === 1) await node.log.stream('s').append(P0, recordOf('b')).durable()
    await node.close()
  }
  ;({ node, said } = await openLoud(directory))
  assert.is(said(), '')
  assert.is(node.log.stream('s').facts('').size, 3)
  await node.close()
})

test('whichever byte of the log of a killed node changes or is cut off, no fact comes back that held no longer', async () => {
  const { node } = await openLoud(tempDir())
  const stream = node.log.stream('s')
  for (let i = 0; i < 20; i++) {
    stream.append(P0, recordOf(`${i}:${'x'.repeat(50)}`))
    stream.setFact('qos2/device-1/77/1', Buffer.alloc(0))
    await stream.setFact('numbered/serial/meter', Buffer.from(String(i))).durable()
    await stream.setFact('qos2/device-1/77/1', null).durable()
  }
  await witnessed(node.directory)
  const source = tempDir()
  cpSync(node.directory, source, { recursive: true })
  await node.close()
  const inSegment = join('streams', 's', '000000000001')
  const [log] = readdirSync(join(source, inSegment)).filter((name) => name.endsWith('.log'))
  const sound = readFileSync(join(source, inSegment, log))
  const used = sound.findLastIndex((byte) => byte !== 0) + 1
  await withSeed(async (random) => {
    for (let i = 0; i < DAMAGES; i++) {
      const directory = tempDir()
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
