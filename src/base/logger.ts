// One line per event on stderr: `2026-01-31T12:00:00.000Z INFO  mqtt listening address=127.0.0.1:1883`. Values with spaces are
// quoted as JSON. Events are for operators: say what happened and, for a warning, what it means for the data.

export type LogLevel = 'debug' | 'info' | 'warn' | 'error'
export type LogFields = Readonly<Record<string, unknown>>

const RANK: Readonly<Record<LogLevel, number>> = { debug: 0, info: 1, warn: 2, error: 3 }

export class Logger {
  constructor(
    private readonly component: string,
    private readonly level: LogLevel = 'info',
    private readonly write: (line: string) => void = (line) => process.stderr.write(line),
  ) {}

  /** A logger for a part of the node, with the same level and sink. */
  child(component: string): Logger {
    return new Logger(component, this.level, this.write)
  }

  debug(event: string, fields?: LogFields): void {
    this.log('debug', event, fields)
  }
  info(event: string, fields?: LogFields): void {
    this.log('info', event, fields)
  }
  warn(event: string, fields?: LogFields): void {
    this.log('warn', event, fields)
  }
  error(event: string, fields?: LogFields): void {
    this.log('error', event, fields)
  }

  private log(level: LogLevel, event: string, fields: LogFields = {}): void {
    if (RANK[level] < RANK[this.level]) return
    let line = `${new Date().toISOString()} ${level.toUpperCase().padEnd(5)} ${this.component} ${event}`
    for (const [name, value] of Object.entries(fields)) if (value !== undefined) line += ` ${name}=${format(value)}`
    this.write(`${line}\n`)
  }
}

/** A logger that says nothing, for tests and for libraries that embed a node. */
export const silentLogger = new Logger('', 'error', () => {})

function format(value: unknown): string {
  if (value instanceof Error) return JSON.stringify(value.message)
  if (typeof value === 'string') return /^[^\s"=\p{Cc}]+$/u.test(value) ? value : JSON.stringify(value)
  return typeof value === 'object' ? JSON.stringify(value) : String(value)
}
