// A logger whose lines a test can read.

import { Logger, type LogLevel } from '../../src/base/logger.js'

export class LogLines {
  readonly lines: string[] = []
  readonly logger: Logger

  constructor(level: LogLevel = 'info') {
    this.logger = new Logger('test', level, (line) => this.lines.push(line))
  }

  /** Lines that hold the text, without their time. */
  having(text: string): string[] {
    return this.lines.filter((line) => line.includes(text)).map((line) => line.slice(25).trim())
  }
}
