// `sluice check`: all problems of a configuration at once, without starting anything.

import { exampleToml } from '../config/example.js'
import { configJsonSchema } from '../config/json-schema.js'
import { loadConfig } from '../config/load.js'
import { formatProblem } from '../config/problem.js'
import { defineCommand } from './command.js'
import { CONFIG_OPTIONS, configSourceOf } from './config-source.js'

export const command = defineCommand({
  name: 'check',
  summary: 'check a configuration, all problems at once',
  usage: ['check [--config FILE]', 'check --schema', 'check --example'],
  description: 'Exit code 1 when there is an error; warnings alone give 0. Nothing is started or changed.',
  options: {
    ...CONFIG_OPTIONS,
    example: { type: 'boolean', description: 'print a sluice.toml with every key, its meaning and its default' },
    schema: { type: 'boolean', description: 'print the JSON Schema of the configuration, for editors' },
  },
  examples: [
    'sluice check --example > sluice.toml',
    'sluice check --config /etc/sluice/sluice.toml',
    'sluice check --schema > sluice.schema.json',
  ],
  async run({ values, env, stdout, stderr }) {
    if (values.example) {
      await stdout.write(exampleToml())
      return 0
    }
    if (values.schema) {
      await stdout.line(JSON.stringify(configJsonSchema(), null, 2))
      return 0
    }
    const source = configSourceOf(values, env)
    const { config, problems } = loadConfig(source)
    if (values.json) await stdout.json({ ok: config !== null, problems })
    else for (const problem of problems) await stdout.line(formatProblem(problem))
    const errors = problems.filter(({ severity }) => severity === 'error').length
    const what = source.file ?? 'The configuration (defaults and environment)'
    if (config === null) await stderr.line(`${what}: ${errors} ${errors === 1 ? 'error' : 'errors'}.`)
    else await stderr.line(`${what}: good. ${summaryOf(config.stream, config.upstream)}`)
    return config === null ? 1 : 0
  },
})

type Named = readonly { readonly name: string }[]

function summaryOf(streams: Named, upstreams: Named): string {
  const names = (entries: Named): string => entries.map(({ name }) => name).join(', ') || 'none'
  return `Streams: ${names(streams)}. Upstreams: ${names(upstreams)}.`
}
