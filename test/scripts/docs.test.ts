// Pages that stand beside the code name files of it: each of them exists, also after the next file has moved.
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'

const root = join(import.meta.dirname, '..', '..', '..')
const FOLDERS = ['src', 'firmware-bridge', 'test', 'scripts']
const LINK = /\]\(([^)#\s]+)(?:#[^)]*)?\)/g
const FILE_NAME = /`([\w./-]+\.(?:ts|mjs|c|h|ino|sh|py|md|json))`/g

const pages = [
  ...readdirSync(root).filter((name) => name.endsWith('.md')),
  ...FOLDERS.flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.md'))
      .map((name) => join(folder, name)),
  ),
]

/** Names are written from the page's folder, from the top of its part of the tree, from src, or from the root. */
function exists(page: string, name: string): boolean {
  const [top = ''] = page.split('/')
  return [dirname(page), top, 'src', '.'].some((folder) => existsSync(join(root, folder, name)))
}

for (const page of pages) {
  test(`every file that ${page} names exists`, () => {
    const text = readFileSync(join(root, page), 'utf8')
    const links = [...text.matchAll(LINK)].map(([, target]) => target).filter((target) => !/^[a-z]+:/.test(target))
    const missing = links.filter((target) => !existsSync(join(root, dirname(page), target)))
    const names = [...text.matchAll(FILE_NAME)].map(([, name]) => name)
    missing.push(...names.filter((name) => !exists(page, name)))
    assert.equal(missing, [])
  })
}

test.run()
