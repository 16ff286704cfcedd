// The text of the help, made from what the commands say about themselves.

import { COMMON_OPTIONS, type Command, type OptionSpec } from './command.js'

export function overview(commands: readonly Command[]): string {
  const width = Math.max(...commands.map(({ name }) => name.length))
  return [
    'Sluice: an MQTT broker for gateways. What is acknowledged is on disk, is forwarded when the link allows, and is never dropped in silence.',
    '',
    'Usage: sluice COMMAND [OPTIONS]',
    '',
    'Commands:',
    ...commands.map(({ name, summary }) => `  ${name.padEnd(width)}  ${summary}`),
    '',
    'Every command takes --url, --token, --json and --help. "sluice help COMMAND" shows the rest.',
    'Exit codes: 0 done, 1 failed, 2 misuse. Data goes to stdout, words to stderr.',
    '',
  ].join('\n')
}

export function commandHelp(command: Command): string {
  const own = Object.entries(command.options)
  const common = Object.entries(COMMON_OPTIONS)
  const width = Math.max(...[...own, ...common].map(([name, spec]) => optionLabel(name, spec).length))
  const lines = ([name, spec]: [string, OptionSpec]): string => {
    const standard = spec.default === undefined ? '' : ` (default ${spec.default})`
    return `  ${optionLabel(name, spec).padEnd(width)}  ${spec.description}${standard}`
  }
  return [
    `sluice ${command.name}: ${command.summary}`,
    '',
    ...command.usage.map((form, i) => `${i === 0 ? 'Usage:' : '      '} sluice ${form}`),
    ...(command.description === undefined ? [] : ['', command.description]),
    ...(own.length === 0 ? [] : ['', 'Options:', ...own.map(lines)]),
    '',
    'Options of every command:',
    ...common.map(lines),
    '',
    'Examples:',
    ...command.examples.map((example) => `  ${example}`),
    '',
  ].join('\n')
}

function optionLabel(name: string, { short, type, value }: OptionSpec): string {
  return `${short === undefined ? '    ' : `-${short}, `}--${name}${type === 'string' ? ` ${value ?? 'VALUE'}` : ''}`
}
