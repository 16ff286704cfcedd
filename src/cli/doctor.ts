// `sluice doctor`: looks at the machine and the configuration before trouble does.

import { loadConfig } from '../config/load.js'
import { formatProblem } from '../config/problem.js'
import { defineCommand } from './command.js'
import { CONFIG_OPTIONS, configSourceOf } from './config-source.js'
import {
  checkAddresses,
  checkClock,
  checkDataDir,
  checkMemory,
  checkNode,
  checkOpenFiles,
  checkSync,
  type Finding,
} from './doctor-checks.js'
import { printable } from './table.js'

export const command = defineCommand({
  name: 'doctor',
  summary: 'examine this machine: configuration, disk, clock, ports, limits',
  usage: ['doctor [--config FILE] [--data DIR]'],
  description:
    'Writes a small file into the data directory to time its disk, and removes it. Exit code 1 when something fails.',
  options: CONFIG_OPTIONS,
  examples: ['sluice doctor', 'sluice doctor --config /etc/sluice/sluice.toml --json'],
  async run({ values, env, stdout }) {
    const findings: Finding[] = []
    const tell = async (...more: Finding[]): Promise<void> => {
      findings.push(...more)
      if (!values.json) for (const finding of more) await stdout.line(lineOf(finding))
    }
    const source = configSourceOf(values, env)
    const { config, problems } = loadConfig(source)
    await tell(checkNode())
    await tell(...configFindings(problems, source.file))
    if (config !== null) {
      await tell(...(await checkDataDir(config)))
      await tell(await checkSync(config))
      await tell(...(await checkAddresses(config)))
      await tell(checkOpenFiles(config), checkMemory(config))
    }
    await tell(checkClock())
    const failed = findings.some(({ status }) => status === 'fail')
    if (values.json) await stdout.json({ ok: !failed, findings })
    return failed ? 1 : 0
  },
})

function configFindings(problems: ReturnType<typeof loadConfig>['problems'], file: string | undefined): Finding[] {
  const check = 'configuration'
  if (problems.length === 0) return [{ status: 'ok', check, found: file ?? 'defaults and environment' }]
  return problems.map((problem) => ({
    status: problem.severity === 'error' ? 'fail' : 'warn',
    check,
    found: formatProblem({ ...problem, severity: 'error', fix: undefined }),
    fix: problem.fix,
  }))
}

function lineOf({ status, check, found, fix }: Finding): string {
  return `${status.padEnd(4)}  ${check.padEnd(15)}  ${printable(found)}${fix === undefined ? '' : `\n      -> ${fix}`}`
}
