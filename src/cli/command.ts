// What a command is. Each has a file of its own which exports `command`, made by defineCommand, and a line in commands.ts. Whatever is
// heavy to load (the node, the MQTT client) is imported inside `run`, so that help and the other commands stay quick and small.

import type { Readable } from 'node:stream'
import type { ApiClient } from './api-client.js'
import type { Output } from './output.js'

export interface OptionSpec {
  readonly type: 'string' | 'boolean'
  /** One letter. `h` is taken by help. */
  readonly short?: string
  /** Given more than once, the values are gathered in a list. */
  readonly multiple?: true
  readonly default?: string
  /** What stands for the value in the help: `N`, `FILE`. */
  readonly value?: string
  /** A phrase, lower case, without a full stop. */
  readonly description: string
}

export type OptionSpecs = Readonly<Record<string, OptionSpec>>

type ValueOf<O extends OptionSpec> = O extends { type: 'boolean' }
  ? boolean | undefined
  : O extends { multiple: true }
    ? string[] | undefined
    : O extends { default: string }
      ? string
      : string | undefined

export type OptionValues<O extends OptionSpecs> = { readonly [K in keyof O]: ValueOf<O[K]> }

/** Options that every command has. */
export const COMMON_OPTIONS = {
  url: {
    type: 'string',
    value: 'URL',
    description: 'the HTTP address of the node (default http://127.0.0.1:7883, or SLUICE_URL)',
  },
  token: { type: 'string', value: 'TOKEN', description: 'a bearer token for the node (or SLUICE_TOKEN)' },
  json: { type: 'boolean', description: 'print JSON, for programs' },
  help: { type: 'boolean', short: 'h', description: 'show this help' },
} as const satisfies OptionSpecs

export interface CommandContext<O extends OptionSpecs = OptionSpecs> {
  readonly values: OptionValues<O & typeof COMMON_OPTIONS>
  /** What was given besides options; their number has been checked against `positionals`. */
  readonly positionals: readonly string[]
  /** For data. */
  readonly stdout: Output
  /** For words. */
  readonly stderr: Output
  readonly stdin: Readable & { readonly isTTY?: boolean; setRawMode?(raw: boolean): unknown }
  readonly env: Readonly<Record<string, string | undefined>>
  /** All commands there are: for what is made from them. */
  loadCommands(): Promise<readonly Command[]>
  /** Talks to the node at --url. */
  readonly api: ApiClient
  /**
   * Aborted by SIGINT, SIGTERM, or when nobody reads stdout any more; from the first use of it these no longer end the process by
   * themselves, and `run` is expected to clean up and return. A second signal ends the process at once.
   */
  readonly signal: AbortSignal
}

export interface CommandDefinition<O extends OptionSpecs> {
  readonly name: string
  /** One line for the list of commands: lower case, no full stop. */
  readonly summary: string
  /** What follows `sluice`, one entry per form: `consume STREAM [--group G]`. */
  readonly usage: readonly string[]
  /** Sentences that follow the usage, where the options do not say it all. */
  readonly description?: string
  readonly options: O
  /** How many positionals may be given, both inclusive; default none. */
  readonly positionals?: { readonly min: number; readonly max: number }
  /** Command lines that can be copied, each followed by `  # what it does` where that is not plain. */
  readonly examples: readonly string[]
  /** @returns the exit code: 0 done, 1 failed. @throws UsageError for misuse (exit code 2), SluiceError (exit code 1). */
  run(context: CommandContext<O>): Promise<number>
}

export type Command = CommandDefinition<OptionSpecs>

/** Fixes the types of a command's option values from its option specs. */
export function defineCommand<const O extends OptionSpecs>(definition: CommandDefinition<O>): Command {
  return definition as unknown as Command
}

/** The command line was not understood: exit code 2, and a pointer to the help. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

/**
 * Reads an option whose value is a whole number.
 * @throws UsageError unless it is one from `min` to `max`, both inclusive.
 */
export function integerOption(
  name: string,
  text: string | undefined,
  { min = 0, max = Number.MAX_SAFE_INTEGER }: { min?: number; max?: number } = {},
): number | undefined {
  if (text === undefined) return undefined
  const value = /^-?\d+$/.test(text) ? Number(text) : Number.NaN
  if (value >= min && value <= max) return value
  const range = max === Number.MAX_SAFE_INTEGER ? `from ${min} up` : `from ${min} to ${max}`
  throw new UsageError(`--${name} takes a whole number ${range}, not ${JSON.stringify(text)}`)
}
