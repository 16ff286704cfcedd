import { cpSync, existsSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { formatProgress } from '../../src/cli/progress-bar.js'
import { piecesOf } from '../../src/cli/verify-walk.js'
import type { Offset, PartitionId } from '../../src/record/record.js'
import { baseOffsetOf, lastOffsetOf } from '../../src/record/record-batch.js'
import { flipBitIn } from '../helpers/damage.js'
import { NodeProcess, type NodeProcessOptions } from '../helpers/node-process.js'
import { openLog, recordOf } from '../helpers/open-log.js'
import { tempDir } from '../helpers/temp-dir.js'
import { runCli } from './cli-helper.js'

const running: NodeProcess[] = []
test.after.each(async () => {
  for (const node of running.splice(0)) await node.kill()
})

async function startNode(options: NodeProcessOptions): Promise<NodeProcess> {
  const node = await NodeProcess.start(options)
  running.push(node)
  return node
}

const COUNT = 5000
const STRUCK = 3210

interface Stored {
  readonly directory: string
  readonly bytes: number
  /** Offsets of the batch that holds record STRUCK of `s`/0, both inclusive. */
  readonly struckBatch: readonly [first: number, last: number]
}

/** A data directory with a stream `s` of two partitions and a stream `t`, in several sealed segments. */
async function store(): Promise<Stored> {
  const directory = join(tempDir(), 'data')
  const streams = [{ name: 's', partitions: 2 }, { name: 't' }]
  const opened = await openLog(directory, streams, { segmentBytes: 256 * 1024, maxBatchBytes: 4096 })
  for (const [name, partition, count] of [
    ['s', 0, COUNT],
    ['s', 1, 700],
    ['t', 0, 30],
  ] as const) {
    const stream = opened.log.stream(name)
    for (let i = 1; i <= count; i++) {
      const commit = stream.append(
        partition as PartitionId,
        recordOf(`<${name}${partition}:${i - 1}>${'x'.repeat(100)}`),
      )
      if (!stream.hasRoom || i === count) await commit.durable()
    }
  }
  const bytes = [...opened.log.streams.values()].reduce((sum, stream) => sum + stream.stats().bytes, 0)
  const limits = { maxBytes: 1, maxRecords: 1 }
  const { batches } = await opened.log.stream('s').fetch(0 as PartitionId, STRUCK as Offset, limits)
  await opened.close()
  writeFileSync(join(directory, 'format'), 'sluice-data 2\n')
  return { directory, bytes, struckBatch: [baseOffsetOf(batches[0]), lastOffsetOf(batches[0])] }
}

async function verifyJson(...args: readonly string[]) {
  const { code, stdout, stderr } = await runCli(['verify', '--json', ...args])
  const answer = stdout === '' ? null : JSON.parse(stdout)
  return { code, stderr, answer, damage: answer?.partitions.flatMap((one: { damage: unknown[] }) => one.damage) }
}

test('a clean data directory is exit code 0, with totals that are those of the log', async () => {
  const { directory, bytes } = await store()
  const { code, answer } = await verifyJson('--data', directory)
  assert.is(code, 0)
  assert.is(answer.ok, true)
  assert.equal([answer.records, answer.bytes], [COUNT + 730, bytes])
  assert.equal(
    answer.partitions.map((one: Record<string, unknown>) => [one['stream'], one['partition'], one['records']]),
    [
      ['s', 0, COUNT],
      ['s', 1, 700],
      ['t', 0, 30],
    ],
  )
  const words = await runCli(['verify', '--data', directory, '--stream', 's', '--partition', '1'])
  assert.equal([words.code, words.stdout], [0, ''])
  assert.match(words.stderr, /^700 records in \d+ batches \([\d.]+ KB\) checked in .*: all of it is good\.\n$/)
})

test('a flipped bit in a sealed table is exit code 1 and the exact range; the next time it is known', async () => {
  const { directory, struckBatch } = await store()
  await flipBitIn(directory, 's', `<s0:${STRUCK}>`)
  const [first, last] = struckBatch
  for (const known of [false, true]) {
    const { code, answer, damage } = await verifyJson('--data', directory)
    assert.is(code, 1)
    const problem = 'cannot be read: damaged or missing on disk'
    const records = last - first + 1
    assert.equal(damage, [{ first_offset: first, last_offset: last, records, problem, known }])
    assert.is(answer.records, COUNT + 730 - records)
  }
  const words = await runCli(['verify', '--data', directory])
  assert.is(words.code, 1)
  assert.match(words.stdout, new RegExp(`^s +0 +${first} +${last} +\\d+ +known +cannot be read`, 'm'))
  assert.match(words.stderr, /Damaged: 0 records newly found, \d+ known before\./)
})

test('a running node verifies what it stores; what it finds is in its ledger from then on', async () => {
  const { directory, struckBatch } = await store()
  await flipBitIn(directory, 's', `<s0:${STRUCK}>`)
  const config = '[[stream]]\nname = "s"\ntopics = ["s/#"]\npartitions = 2\n[[stream]]\nname = "t"\ntopics = ["#"]\n'
  const node = await startNode({ dataDir: directory, config })
  for (const known of [false, true]) {
    const { code, damage } = await verifyJson('--url', node.httpUrl)
    assert.is(code, 1)
    assert.is(damage.length, 1)
    const { first_offset: first, last_offset: last, known: isKnown } = damage[0]
    assert.equal([first, last, isKnown], [...struckBatch, known])
  }
  const { stdout } = await runCli(['ledger', '--json', '--url', node.httpUrl])
  const { first_offset, last_offset, reason } = JSON.parse(stdout)
  assert.equal([first_offset, last_offset, reason], [...struckBatch, 'corruption'])
  assert.is((await verifyJson('--url', node.httpUrl, '--stream', 't')).code, 0)

  const offline = await runCli(['verify', '--data', directory])
  assert.is(offline.code, 1)
  assert.match(offline.stderr, /is in use by another node; run it without --data/)
  const nowhere = await runCli(['verify', '--url', node.httpUrl, '--stream', 'u'])
  assert.match(nowhere.stderr, /there is no stream u/)
})

test('a copy of what a killed node left behind is verified while the node runs on', async () => {
  const config = '[[stream]]\nname = "s"\ntopics = ["#"]\npartitions = 3\n'
  const node = await startNode({ config })
  const body = JSON.stringify({ records: Array.from({ length: 500 }, (_, i) => ({ topic: 'a/b', value: `${i}` })) })
  const headers = { 'content-type': 'application/json' }
  const { status } = await fetch(`${node.httpUrl}/v1/streams/s/records`, { method: 'POST', body, headers })
  assert.is(status, 200)
  await node.kill('SIGKILL')
  const copy = join(tempDir(), 'copy')
  cpSync(node.dataDir, copy, { recursive: true })
  await node.startAgain()
  const { code, answer } = await verifyJson('--data', copy)
  assert.is(code, 0)
  const partitions = answer.partitions.filter(({ stream }: { stream: string }) => stream === 's')
  assert.equal([answer.records, partitions.length], [500, 3])
})

test('a segment that cannot be read is named, and what it held counts as new damage', async () => {
  const { directory } = await store()
  const segment = join(directory, 'streams', 't', '000000000001')
  rmSync(join(segment, 'sealed'))
  // Without CURRENT alone its records would be found all the same.
  for (const name of readdirSync(segment)) {
    if (/^CURRENT$|\.(ldb|log)$/.test(name)) writeFileSync(join(segment, name), '')
  }
  const { code, damage, stderr } = await verifyJson('--data', directory)
  assert.is(code, 1)
  assert.is(damage.length, 1)
  assert.ok(damage[0].first_offset === 0 && damage[0].last_offset >= 29 && damage[0].known === false)
  assert.match(stderr, /set aside/)
})

test('looking through a data directory removes nothing, whatever retention the configuration has', async () => {
  const { directory } = await store()
  const config = join(tempDir(), 'sluice.toml')
  const retention = 'retention = { max_bytes = "1MB", max_age = "1s" }'
  writeFileSync(
    config,
    `data_dir = ${JSON.stringify(directory)}\n[[stream]]\nname = "s"\ntopics = ["#"]\n${retention}\n`,
  )
  for (let round = 0; round < 2; round++) {
    const { code, answer } = await verifyJson('--config', config)
    assert.equal([code, answer.records], [0, COUNT + 730])
  }
})

test('a directory without data is refused and stays as it was', async () => {
  const missing = join(tempDir(), 'missing')
  const { code, stderr } = await runCli(['verify', '--data', missing])
  assert.is(code, 1)
  assert.match(stderr, /not a data directory of Sluice/)
  assert.not.ok(existsSync(missing))
})

test('a sample takes its part, evenly, wherever it begins', () => {
  for (const begin of [0, 0.5, 0.999]) {
    const pieces = [...piecesOf({ firstOffset: 1000, endOffset: 101_000 }, { sample: 0.1, random: () => begin })]
    const covered = pieces.reduce((sum, { first, end }) => sum + end - first, 0)
    assert.is(covered, 10_000)
    const steps = pieces.slice(1).map(({ first }, i) => first - pieces[i].first)
    assert.ok(
      steps.every((step) => step === 20_000),
      steps.join(),
    )
  }
  const whole = [...piecesOf({ firstOffset: 3, endOffset: 9 }, { sample: 1, random: Math.random })]
  assert.equal(whole, [{ first: 3, end: 9 }])
})

test('a sample of a data directory checks about as much as it says', async () => {
  const { directory } = await store()
  const { code, answer } = await verifyJson('--data', directory, '--sample', '20%', '--stream', 's')
  assert.is(code, 0)
  // Batches are not cut, so each of its pieces may be a little longer.
  assert.ok(answer.records > 0.15 * (COUNT + 700) && answer.records < 0.6 * (COUNT + 700), `${answer.records}`)
  for (const sample of ['0%', '10', '101%', 'some'])
    assert.is((await runCli(['verify', '--data', directory, '--sample', sample])).code, 2)
})

test('progress shows how far it is, how fast, and what is left', () => {
  const MB = 1024 * 1024
  const half = { records: 1000, totalRecords: 2000, bytes: 1.5 * MB, totalBytes: 3 * MB }
  assert.is(
    formatProgress(half, 2000),
    '[##########..........]  50%  2s left  1,000 of 2,000 records, 500/s  1.5 MB of about 3 MB, 768 KB/s',
  )
  assert.is(
    formatProgress({ records: 0, totalRecords: 0, bytes: 0, totalBytes: 0 }, 0),
    '[####################] 100%  0 of 0 records  0 B',
  )
})

test.run()
