// A view that is drawn over and over, on the second screen of a terminal, so that what was on the first is there again afterwards. Where stdout is
// no terminal each picture follows the one before.

import type { Output } from './output.js'

const ENTER = '\x1b[?1049h\x1b[?25l'
const LEAVE = '\x1b[?25h\x1b[?1049l'
const HOME = '\x1b[H'
const CLEAR_LINE = '\x1b[K'
const CLEAR_BELOW = '\x1b[J'
const INDENT = '  '

export class LiveScreen {
  private entered = false

  constructor(private readonly output: Output) {}

  /** Lines that are too long for the terminal are cut. */
  async draw(lines: readonly string[]): Promise<void> {
    const { output } = this
    if (!output.isTty) return output.write(`${lines.join('\n')}\n\n`)
    const shown = lines.slice(0, output.rows - 1).map((line) => [...line].slice(0, output.columns).join(''))
    const picture = shown.map((line) => `${line}${CLEAR_LINE}\n`).join('')
    await output.write(`${this.entered ? '' : ENTER}${HOME}${picture}${CLEAR_BELOW}`)
    this.entered = true
  }

  /** What a line has room for. */
  get width(): number {
    return this.output.isTty ? this.output.columns : Number.POSITIVE_INFINITY
  }

  /** A sentence, which is not to be cut: over as many lines as it takes, those after the first one indented. */
  wrap(text: string): string[] {
    const { width } = this
    if (width <= INDENT.length) return [text]
    const lines: string[] = []
    let line = ''
    for (const word of text.split(' ')) {
      const longer = line === '' ? word : `${line} ${word}`
      if (line.trim() !== '' && [...longer].length > width) {
        lines.push(line)
        line = INDENT + word
      } else line = longer
    }
    return [...lines, line]
  }

  /** Call at the end, whatever it was. */
  async leave(): Promise<void> {
    if (this.entered) await this.output.write(LEAVE)
    this.entered = false
  }
}
