import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { claimDataDirectory, DATA_FORMAT } from '../../src/state/data-directory.js'
import { errorOf } from '../helpers/rejection.js'
import { tempDir } from '../helpers/temp-dir.js'

function directoryWith(formatFile: string): string {
  const directory = tempDir()
  mkdirSync(join(directory, 'streams'))
  writeFileSync(join(directory, 'format'), formatFile)
  return directory
}

for (const [format, code, advice] of [
  [DATA_FORMAT - 1, 'DATA_DIR_TOO_OLD', /written by an older Sluice; .*Drain it with the older version/],
  [0, 'DATA_DIR_TOO_OLD', /reads none below/],
  [DATA_FORMAT + 1, 'DATA_DIR_TOO_NEW', /written by a newer Sluice; .*Run the newer version/],
] as const) {
  test(`a data directory of format ${format} is refused with ${code}, left as it is, and what to do is said`, async () => {
    const line = `sluice-data ${format}\n`
    const directory = directoryWith(line)
    const refusal = await errorOf(claimDataDirectory(directory))
    assert.is(refusal.code, code)
    assert.match(refusal.message, advice)
    assert.ok(refusal.message.includes(directory))
    assert.is(refusal.details['format'], format)
    assert.equal(readdirSync(directory), ['format', 'streams'])
    assert.is(readFileSync(join(directory, 'format'), 'utf8'), line)
  })
}

test('a directory of this format is taken, a new one gets it, and a damaged format file is never guessed at', async () => {
  await claimDataDirectory(directoryWith(`sluice-data ${DATA_FORMAT}\n`))
  const fresh = join(tempDir(), 'data')
  await claimDataDirectory(fresh)
  assert.is(readFileSync(join(fresh, 'format'), 'utf8'), `sluice-data ${DATA_FORMAT}\n`)
  for (const damaged of ['', 'sluice-data two\n', `sluice-data ${DATA_FORMAT}`])
    assert.is((await errorOf(claimDataDirectory(directoryWith(damaged)))).code, 'CORRUPT_MESSAGE')
})

test('a directory that holds something else is not taken for a new one', async () => {
  const directory = tempDir()
  writeFileSync(join(directory, 'photo.jpg'), '')
  const refusal = await errorOf(claimDataDirectory(directory))
  assert.is(refusal.code, 'STORAGE_FAILED')
  assert.match(refusal.message, /not empty and not a Sluice data directory \(it has photo\.jpg\)/)
  assert.equal(readdirSync(directory), ['photo.jpg'])
})

test.run()
