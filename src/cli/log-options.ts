// How much the commands that run for long write to stderr: what the configuration says, unless the command line says more or less.

import { Logger, type LogLevel } from '../base/logger.js'
import { UsageError } from './command.js'
import type { Output } from './output.js'

export const LOG_OPTIONS = {
  quiet: { type: 'boolean', short: 'q', description: 'log only warnings and errors' },
  verbose: { type: 'boolean', short: 'v', description: 'log details too' },
} as const

interface LogChoice {
  readonly quiet?: boolean
  readonly verbose?: boolean
}

/** @throws UsageError */
export function checkLogOptions({ quiet, verbose }: LogChoice): void {
  if (quiet && verbose) throw new UsageError('--quiet and --verbose exclude each other')
}

export function loggerFor({ quiet, verbose }: LogChoice, configured: LogLevel, stderr: Output): Logger {
  const level = quiet ? 'warn' : verbose ? 'debug' : configured
  return new Logger('sluice', level, (line) => void stderr.write(line))
}
