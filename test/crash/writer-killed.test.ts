// test-run: limit 240 s
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { openLog, readAll } from '../helpers/open-log.js'
import { Program } from '../helpers/program.js'
import { SeededRandom } from '../helpers/seeded-random.js'
import { tempDir } from '../helpers/temp-dir.js'
import { CRASH_STREAM, crashPayload } from './crash-payload.js'

const KILLS = 30
const MAX_LIFE_MS = 250
const PARTITIONS = [0, 1]

/** Offsets said by the writer, per partition: where a round began, or the last one acknowledged in it. */
function said(output: string, word: 'open' | 'acked'): Map<number, number> {
  const last = new Map<number, number>()
  for (const [, partition, offset] of output.matchAll(new RegExp(`^${word} (\\d) (\\d+)\\n`, 'gm'))) {
    last.set(Number(partition), Number(offset))
  }
  return last
}

test(`a writer killed ${KILLS} times at random moments loses no acked record, and offsets stay contiguous`, async () => {
  const random = new SeededRandom()
  console.log(`seed ${random.seed} (SLUICE_TEST_SEED=${random.seed} repeats it)`)
  const directory = tempDir()
  const ackedEnd = PARTITIONS.map(() => 0)
  const starts: number[][] = PARTITIONS.map(() => [])

  for (let round = 0; round < KILLS; round++) {
    const args = [join(import.meta.dirname, 'writer.js'), directory, String(round), String(random.seed + round)]
    const writer = new Program(process.execPath, args)
    // Some die while they open and recover the log, most while they write.
    if (random.chance(0.8)) await writer.waitFor(/^acked /m, 'stdout')
    await wait(random.next() * MAX_LIFE_MS)
    const { signal } = await writer.stop('SIGKILL')
    assert.is(signal, 'SIGKILL', writer.stderr)
    const opened = said(writer.stdout, 'open')
    const acked = said(writer.stdout, 'acked')
    for (const partition of PARTITIONS) {
      const start = opened.get(partition)
      if (start === undefined) continue
      assert.ok(
        start >= ackedEnd[partition],
        `round ${round}: opens at ${start}, but ${ackedEnd[partition]} were acked`,
      )
      starts[partition][round] = start
      ackedEnd[partition] = Math.max(ackedEnd[partition], (acked.get(partition) ?? -1) + 1)
    }
  }

  const node = await openLog(directory, [{ name: CRASH_STREAM, partitions: 2 }], { segmentBytes: 256 * 1024 })
  for (const partition of PARTITIONS) {
    const records = await readAll(node.log, CRASH_STREAM, partition, 0)
    assert.ok(records.length >= ackedEnd[partition], `${records.length} read, ${ackedEnd[partition]} acked`)
    let round = 0
    records.forEach(({ offset, value }, i) => {
      for (let next = round; next < KILLS; next++) if ((starts[partition][next] ?? Infinity) <= offset) round = next
      assert.is(offset, i, 'contiguous from 0')
      assert.is(value?.toString(), crashPayload(round, partition, offset), `record ${offset} of partition ${partition}`)
    })
    console.log(`partition ${partition}: ${ackedEnd[partition]} acked, ${records.length} read back`)
  }
  assert.equal(node.ledger.list(), [], 'nothing had to be given up')
  assert.ok(
    ackedEnd.every((end) => end > 1000),
    'enough was written for the kills to mean something',
  )
  await node.close()
})

test.run()
