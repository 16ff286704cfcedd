// Loads a configuration given as text, from an empty folder.

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type LoadedConfig, loadConfig } from '../../src/config/load.js'
import { formatProblem } from '../../src/config/problem.js'
import type { Config } from '../../src/config/schema.js'
import { tempDir } from '../helpers/temp-dir.js'

export const folder = tempDir()

export function loadText(text: string, environment: Record<string, string> = {}): LoadedConfig {
  const file = join(folder, 'sluice.toml')
  writeFileSync(file, text)
  return loadConfig({ file, environment })
}

/** @throws Error with the problems when there are errors. */
export function configOf(text: string, environment: Record<string, string> = {}): Config {
  const { config, problems } = loadText(text, environment)
  if (config === null) throw new Error(problems.map(formatProblem).join('\n'))
  return config
}

export function problemsOf(text: string, environment: Record<string, string> = {}): string[] {
  return loadText(text, environment).problems.map(formatProblem)
}
