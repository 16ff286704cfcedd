// Plain tables that line up. Cells may hold what devices sent (topics, client ids): control characters are shown, never obeyed.

export type Cell = string | number | boolean | null | undefined

export interface Column<Row> {
  readonly title: string
  readonly value: (row: Row) => Cell
  /** Default: right where every cell is a number. */
  readonly align?: 'left' | 'right'
}

const SPACE = '  '

/**
 * @param maxWidth Columns that do not fit are left out, from the last one on; the first is always there.
 * @returns a heading and one line per row, each ended by a newline; columns are two spaces apart.
 */
export function formatTable<Row>(
  columns: readonly Column<Row>[],
  rows: readonly Row[],
  maxWidth = Number.POSITIVE_INFINITY,
): string {
  const cells = rows.map((row) => columns.map((column) => column.value(row)))
  const right = columns.map(({ align }, i) =>
    align === undefined
      ? cells.length > 0 &&
        cells.every((line) => typeof line[i] === 'number' || isEmpty(line[i])) &&
        cells.some((line) => typeof line[i] === 'number')
      : align === 'right',
  )
  const lines = [columns.map(({ title }) => title), ...cells.map((line) => line.map(cellText))]
  const widths = columns.map((_, i) => Math.max(...lines.map((line) => widthOf(line[i]))))
  const shown = columns.filter((_, i) => i === 0 || sumOf(widths.slice(0, i + 1)) + SPACE.length * i <= maxWidth)
  const formatted = lines.map((line) =>
    line
      .slice(0, shown.length)
      .map((text, i) => {
        const padding = ' '.repeat(widths[i] - widthOf(text))
        return right[i] ? padding + text : text + padding
      })
      .join(SPACE)
      .trimEnd(),
  )
  return `${formatted.join('\n')}\n`
}

/** Control characters, and those that turn the direction of writing, as `\xNN` or `\uNNNN`. */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu, (character) => {
    const code = character.charCodeAt(0)
    return code < 0x100 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u${code.toString(16).padStart(4, '0')}`
  })
}

function isEmpty(cell: Cell): boolean {
  return cell === null || cell === undefined || cell === ''
}

function cellText(cell: Cell): string {
  return isEmpty(cell) ? '-' : printable(String(cell))
}

function sumOf(numbers: readonly number[]): number {
  return numbers.reduce((sum, one) => sum + one, 0)
}

function widthOf(text: string): number {
  return [...text].length
}
