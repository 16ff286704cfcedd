// Where a command finds the configuration: --config, else SLUICE_CONFIG, else ./sluice.toml where there is one, else defaults and
// environment alone.

import { existsSync } from 'node:fs'
import { SluiceError } from '../base/errors.js'
import { type ConfigSource, loadConfig } from '../config/load.js'
import { formatProblem } from '../config/problem.js'
import type { Config } from '../config/schema.js'
import type { CommandContext, OptionSpecs } from './command.js'

const USUAL_FILE = 'sluice.toml'

export const CONFIG_OPTIONS = {
  config: {
    type: 'string',
    short: 'c',
    value: 'FILE',
    description: `the configuration (default SLUICE_CONFIG, or ./${USUAL_FILE} where there is one)`,
  },
  data: { type: 'string', short: 'd', value: 'DIR', description: 'the data directory, in place of data_dir' },
} as const satisfies OptionSpecs

type Values = { readonly config?: string | undefined; readonly data?: string | undefined }

export function configSourceOf(values: Values, env: CommandContext['env']): ConfigSource {
  const usual = existsSync(USUAL_FILE) ? USUAL_FILE : undefined
  return { file: values.config ?? (env['SLUICE_CONFIG'] || usual), environment: env, dataDir: values.data }
}

/**
 * The configuration, its warnings written to stderr.
 * @throws SluiceError INVALID_CONFIG, with every problem on a line of its own.
 */
export async function configFor({
  values,
  env,
  stderr,
}: Pick<CommandContext, 'env' | 'stderr'> & { values: Values }): Promise<Config> {
  const source = configSourceOf(values, env)
  const { config, problems } = loadConfig(source)
  const lines = (severity: string): string[] =>
    problems.filter((problem) => problem.severity === severity).map((problem) => `  ${formatProblem(problem)}`)
  if (config === null) {
    const errors = lines('error')
    const count = errors.length === 1 ? 'a problem' : `${errors.length} problems`
    throw new SluiceError('INVALID_CONFIG', `the configuration has ${count}:\n${errors.join('\n')}`, { problems })
  }
  for (const line of lines('warning')) await stderr.line(line.trim())
  return config
}
