// In which line of a TOML document each key stands, which the parser does not tell. Reads only what every valid document has: headers and
// the beginnings of assignments. Keys inside inline tables share the line of the table.

import type { KeyPath } from './problem.js'

const KEY = `(?:"[^"]*"|'[^']*'|[A-Za-z0-9_-]+)`
const KEYS = new RegExp(KEY, 'g')
const DOTTED = String.raw`(${KEY}(?:\s*\.\s*${KEY})*)`
const ARRAY_HEADER = new RegExp(String.raw`^\s*\[\[\s*${DOTTED}\s*\]\]`)
const HEADER = new RegExp(String.raw`^\s*\[\s*${DOTTED}\s*\]\s*(?:#.*)?$`)
const ASSIGNMENT = new RegExp(String.raw`^\s*${DOTTED}\s*=`)

export class TomlLines {
  private readonly lines = new Map<string, number>()
  private readonly arrayLengths = new Map<string, number>()

  /** @param toml A document that parses. */
  constructor(toml: string) {
    let table: KeyPath = []
    let closing: string | null = null
    for (const [i, line] of toml.split('\n').entries()) {
      if (closing !== null) {
        if (line.includes(closing)) closing = null
        continue
      }
      const arrayHeader = ARRAY_HEADER.exec(line)?.[1]
      const header = HEADER.exec(line)?.[1]
      const assignment = ASSIGNMENT.exec(line)?.[1]
      if (arrayHeader !== undefined) table = this.nextEntry(this.resolve([], arrayHeader))
      else if (header !== undefined) table = this.resolve([], header)
      if (arrayHeader !== undefined || header !== undefined) this.note(table, i + 1)
      else if (assignment !== undefined) this.note(this.resolve(table, assignment), i + 1)
      closing = opensMultiLine(line)
    }
  }

  /** @returns the line, from 1, of the key or else of the table that holds it; null for what the document does not have. */
  lineOf(path: KeyPath): number | null {
    for (let length = path.length; length > 0; length--) {
      const line = this.lines.get(idOf(path.slice(0, length)))
      if (line !== undefined) return line
    }
    return null
  }

  /** The path of a dotted key, with the position of the latest entry after the name of each array of tables. */
  private resolve(table: KeyPath, dotted: string): KeyPath {
    const path = [...table]
    const keys = dotted.match(KEYS) ?? []
    for (const [i, key] of keys.entries()) {
      path.push(key.replace(/^["']|["']$/g, ''))
      const length = this.arrayLengths.get(idOf(path))
      if (length !== undefined && i < keys.length - 1) path.push(length - 1)
    }
    return path
  }

  private nextEntry(array: KeyPath): KeyPath {
    const length = this.arrayLengths.get(idOf(array)) ?? 0
    this.arrayLengths.set(idOf(array), length + 1)
    return [...array, length]
  }

  private note(path: KeyPath, line: number): void {
    for (let length = path.length; length > 0; length--) {
      const id = idOf(path.slice(0, length))
      if (!this.lines.has(id)) this.lines.set(id, line)
    }
  }
}

function opensMultiLine(line: string): string | null {
  for (const quotes of ['"""', "'''"]) if (line.split(quotes).length % 2 === 0) return quotes
  return null
}

function idOf(path: KeyPath): string {
  return path.join('\0')
}
