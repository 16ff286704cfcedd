import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Logger, silentLogger } from '../../src/base/logger.js'
import { setAside } from '../../src/state/quarantine.js'
import { tempDirInMemory } from '../helpers/temp-dir.js'

/** A directory with so many bytes in two files, one of them deeper. */
function directoryOf(data: string, bytes: number): string {
  const directory = join(data, 'damaged')
  mkdirSync(join(directory, 'lost'), { recursive: true })
  writeFileSync(join(directory, '000003.log'), Buffer.alloc(Math.floor(bytes / 2)))
  writeFileSync(join(directory, 'lost', '000005.ldb'), Buffer.alloc(Math.ceil(bytes / 2)))
  return directory
}

/** Something set aside at that time. */
function keptSince(data: string, name: string, atMs: number, bytes: number): void {
  mkdirSync(join(data, 'quarantine', `${name}-${atMs}`), { recursive: true })
  writeFileSync(join(data, 'quarantine', `${name}-${atMs}`, 'file'), Buffer.alloc(bytes))
}

const inQuarantine = (data: string): string[] =>
  (readdirSync(join(data, 'quarantine'), { recursive: true }) as string[])
    .flatMap((name) => /^(state|.*\/\d{12})-\d+$/.exec(name)?.[1] ?? [])
    .sort()

test('what is set aside fills its maximum; with one byte more the oldest of all goes, and the log says so', async () => {
  const data = tempDirInMemory()
  let lines = ''
  const logger = new Logger('log', 'warn', (line) => {
    lines += line
  })
  keptSince(data, join('line-7', '000000000001'), 3000, 400)
  keptSince(data, 'state', 2000, 300)
  keptSince(data, join('line-7', '000000000002'), 1000, 200)
  await setAside(directoryOf(data, 100), data, join('telemetry', '000000000009'), logger, 1000)
  const first = ['line-7/000000000001', 'line-7/000000000002', 'state', 'telemetry/000000000009']
  assert.equal([inQuarantine(data), lines], [first, ''])
  await setAside(directoryOf(data, 1), data, join('telemetry', '000000000010'), logger, 1000)
  assert.equal(inQuarantine(data), [
    ...['line-7/000000000001', 'state', 'telemetry/000000000009', 'telemetry/000000000010'],
  ])
  assert.match(lines, /oldest of what was set aside is removed.*line-7\/000000000002-1000.*bytes=200/)
  assert.not.ok(readdirSync(data).includes('damaged'))
})

test('what came last stays, also where it is larger than the maximum', async () => {
  const data = tempDirInMemory()
  keptSince(data, 'state', 1000, 10)
  await setAside(directoryOf(data, 1001), data, join('telemetry', '000000000001'), silentLogger, 1000)
  assert.equal(inQuarantine(data), ['telemetry/000000000001'])
})

test.run()
