// The list in README.md is whole, and every test it names exists.

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'

const root = join(import.meta.dirname, '..', '..', '..')
const folder = join(root, 'test', 'conformance')
/** How many statements each section has, by appendix B of the standard. */
const SECTIONS: Readonly<Record<string, number>> = {
  '1.5.3': 3,
  '2.2.2': 2,
  '2.3.1': 7,
  '3.1.0': 2,
  '3.1.2': 24,
  '3.1.3': 11,
  '3.1.4': 5,
  '3.2.0': 1,
  '3.2.2': 6,
  '3.3.1': 12,
  '3.3.2': 3,
  '3.3.4': 1,
  '3.3.5': 2,
  '3.6.1': 1,
  '3.8.1': 1,
  '3.8.3': 4,
  '3.8.4': 6,
  '3.9.3': 2,
  '3.10.1': 1,
  '3.10.3': 2,
  '3.10.4': 6,
  '3.12.4': 1,
  '3.14.1': 1,
  '3.14.4': 3,
  '4.1.0': 2,
  '4.3.1': 1,
  '4.3.2': 2,
  '4.3.3': 2,
  '4.4.0': 1,
  '4.5.0': 2,
  '4.6.0': 6,
  '4.7.1': 3,
  '4.7.2': 1,
  '4.7.3': 4,
  '4.8.0': 2,
  '6.0.0': 4,
  '7.0.0': 2,
  '7.1.1': 1,
  '7.1.2': 1,
}
/** The standard writes it so. */
const MISSPELT = 'MQTT-3-8.3-4'

const rows = readFileSync(join(folder, 'README.md'), 'utf8')
  .split('\n')
  .filter((line) => line.startsWith('| MQTT-'))
  .map((line) => {
    const [, statement, , heldBy] = line.split('|').map((cell) => cell.trim())
    return { statement, heldBy }
  })

/** Numbers that tests begin with: as they are written, and made of digits in a template. */
function numbersIn(file: string): RegExp[] {
  const text = readFileSync(join(folder, file), 'utf8')
  return [...text.matchAll(/['`](\d\d-(?:\d|\$\{\w+\})+)['` ]/g)].map(
    ([, number]) => new RegExp(`^${number.replaceAll(/\$\{\w+\}/g, '\\d')}$`),
  )
}

test('every normative statement of the standard is listed once', () => {
  const expected = Object.entries(SECTIONS).flatMap(([section, count]) =>
    Array.from({ length: count }, (_, i) => `MQTT-${section}-${i + 1}`),
  )
  const listed = rows.map(({ statement }) => (statement === MISSPELT ? 'MQTT-3.8.3-4' : statement))
  assert.equal(listed, expected)
})

test('every statement is held by a test that exists, or binds clients only', () => {
  const files = readdirSync(folder).filter((name) => /^\d\d-.*\.test\.ts$/.test(name))
  const numbers = files.flatMap(numbersIn)
  for (const { statement, heldBy } of rows) {
    const named = heldBy.match(/\b\d\d-\d{2,3}\b/g) ?? []
    for (const number of named)
      assert.ok(
        numbers.some((one) => one.test(number)),
        `${statement}: there is no test ${number}`,
      )
    const elsewhere = /([a-z0-9/-]+\.test\.ts): ([^;]+)$/.exec(heldBy)
    if (elsewhere !== null) {
      const names = readFileSync(join(root, 'test', elsewhere[1]), 'utf8')
      assert.ok(names.includes(elsewhere[2]), `${statement}: no test of ${elsewhere[1]} says "${elsewhere[2]}"`)
    }
    assert.ok(named.length > 0 || elsewhere !== null || heldBy === 'client', `${statement} is held by nothing`)
  }
})

test.run()
