// DATA_FORMAT.md is exact enough to write a reader from: one in Python, which shares no line with ours, reads what we have written.

import { spawnSync } from 'node:child_process'
import { cpSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { attributesOf, type PartitionId } from '../../../src/record/record.js'
import { claimDataDirectory } from '../../../src/state/data-directory.js'
import { toldReason } from '../../../src/state/ledger.js'
import { openLog, readAll, recordOf } from '../../helpers/open-log.js'
import { unlessSkipped } from '../../helpers/skip.js'
import { tempDir } from '../../helpers/temp-dir.js'
import { witnessed } from '../../helpers/witnessed.js'

const READER = join(process.cwd(), 'test', 'log', 'format', 'read_data_directory.py')
const hasPython = spawnSync('python3', ['--version']).status === 0
const withPython = unlessSkipped(test, hasPython ? null : 'python3 is not installed')

const STREAMS = [
  { name: 'plain', partitions: 3 },
  { name: 'zipped', partitions: 1, compression: 'gzip' as const },
]
const OPTIONS = { segmentBytes: 256 * 1024, maxBatchBytes: 8 * 1024 }

interface Line {
  readonly kind: 'segment' | 'record' | 'row'
  readonly [field: string]: unknown
}

function readByPython(directory: string): Line[] {
  const { status, stdout, stderr } = spawnSync('python3', [READER, directory], {
    encoding: 'utf8',
    maxBuffer: 256 * 1024 * 1024,
  })
  assert.is(status, 0, stderr)
  return stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Line)
}

withPython(
  'a reader written from DATA_FORMAT.md alone finds the records, facts and topics that were stored',
  async () => {
    const live = tempDir()

    await claimDataDirectory(live)
    const node = await openLog(live, STREAMS, OPTIONS)
    for (const { name, partitions } of STREAMS) {
      const stream = node.log.stream(name)
      for (let i = 0; i < 1500; i++) {
        const partition = (i % partitions) as PartitionId
        const commit = stream.append(
          partition,
          recordOf(`${name} ${i} ${'äx'.repeat((i * 31) % 200)}`, {
            key: i % 50 === 0 ? null : Buffer.from(`plant/${i % 7}/temp`),
            timestampMs: 1_700_000_000_000 + ((i * 7919) % 5000),
            headers: i % 3 === 0 ? [{ key: 'unit', value: Buffer.from('°C') }] : [],
            attributes: attributesOf((i % 3) as 0 | 1 | 2, i % 5 === 0),
          }),
        )
        if (i % 10 === 0) stream.setFact(`qos2/device/7/${i % 30}`, i % 20 === 0 ? Buffer.alloc(0) : null)
        if (i % 40 === 0) await commit.durable()
      }
      await stream.setFact('numbered/serial/meter', Buffer.from([1, 2, 3])).durable()
    }
    await witnessed(live, 'plain')
    await witnessed(live, 'zipped')
    const directory = tempDir()
    cpSync(live, directory, { recursive: true })
    const lines = readByPython(directory)
    for (const { name, partitions } of STREAMS) {
      const segments = lines.filter(({ kind, stream }) => kind === 'segment' && stream === name)
      assert.equal(
        new Set(segments.map(({ sealed }) => sealed)),
        new Set(name === 'plain' ? [true, false] : [false]),
        'sealed segments and one that was not',
      )
      const facts = segments.at(-1)?.facts as Record<string, string>
      assert.equal(
        Object.keys(facts).sort(),
        [...node.log.stream(name).facts('').keys()].sort(),
        'what held when the node was killed',
      )
      for (let partition = 0; partition < partitions; partition++) {
        const found = lines.filter((one) => one.kind === 'record' && one.stream === name && one.partition === partition)
        const stored = await readAll(node.log, name, partition)
        assert.is(found.length, stored.length)
        stored.forEach(({ offset, timestampMs, key, value, headers, attributes }, i) => {
          const { offset: at, timestamp_ms, key: mqttTopic, value: base64, headers: pairs, qos, retain } = found[i]
          assert.equal(
            [at, timestamp_ms, mqttTopic, base64, pairs, qos, retain],
            [
              offset,
              timestampMs,
              key?.toString() ?? null,
              value?.toString('base64') ?? null,
              headers.map((header) => [header.key, header.value?.toString()]),
              (attributes & 3) ^ 1,
              (attributes & 4) !== 0,
            ],
          )
        })
      }
    }
    assert.ok(lines.some(({ kind, table, key }) => kind === 'row' && table === 'ceilings' && key === 'plain/0'))
    await node.close()
  },
)

const FORMAT_PAGE = readFileSync(join('src', 'log', 'DATA_FORMAT.md'), 'utf8')

/** [where it stands, name] of every table of the state database that the source asks for. */
function tablesInSource(): [where: string, name: string][] {
  const found: [string, string][] = []
  for (const root of ['src', 'firmware-bridge']) {
    for (const file of readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((one) => one.endsWith('.ts'))) {
      const source = readFileSync(join(root, file), 'utf8')
      for (const [, of, argument] of source.matchAll(/\b(state|node)\.table(?:<[\w<>[\], ]+>)?\(([^)]+)\)/g)) {
        const constant = new RegExp(`const ${argument} = ('[^']+')`).exec(source)?.[1]
        const name = /^['`]([a-z-]+)/.exec(constant ?? argument)?.[1]
        assert.ok(name, `${join(root, file)}: which table is ${argument}?`)
        // A program that runs the node, such as the bridge, has tables of its own.
        found.push([join(root, file), of === 'node' ? `program-${name}` : name])
      }
    }
  }
  return found
}

test('every table of the state database is in DATA_FORMAT.md, and every one in there exists', () => {
  const tables = tablesInSource()
  const inSource = new Set(tables.map(([, name]) => name))
  const page = FORMAT_PAGE.slice(FORMAT_PAGE.indexOf('| table | key | value |'), FORMAT_PAGE.indexOf('**Ledger**'))
  const inPage = new Set([...page.matchAll(/^\| `([a-z-]+)` \|/gm)].map(([, name]) => name))
  assert.ok(inPage.size > 20)
  for (const [where, name] of tables)
    if (name !== 'program-') assert.ok(inPage.has(name), `${where}: the table ${name} is not in DATA_FORMAT.md`)
  for (const name of inPage) assert.ok(inSource.has(name), `DATA_FORMAT.md has a table ${name}, which nothing uses`)
})

test('every reason of a ledger row is in DATA_FORMAT.md', () => {
  const source = readFileSync(join('src', 'state', 'ledger.ts'), 'utf8')
  const reasons = [...source.slice(0, source.indexOf('] as const')).matchAll(/^ {2}'(\w+)',$/gm)].map(
    ([, name]) => name,
  )
  assert.ok(reasons.length >= 10)
  for (const reason of reasons) {
    assert.is(toldReason(reason), reason)
    assert.ok(FORMAT_PAGE.includes(`| \`${reason}\` | `), `the reason ${reason} is not in DATA_FORMAT.md`)
  }
})

test.run()
