// A serial line with noise between two terminal devices: line.py in a process of its own.

import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { Program } from '../helpers/program.js'

const LINE = join(import.meta.dirname, '..', '..', '..', 'test', 'firmware-bridge', 'line.py')

/** Null when a line can be made, else why not. */
export const noLine = spawnSync('python3', ['--version']).status === 0 ? null : 'python3 is not installed'

export interface Line {
  /** The paths of both ends. */
  readonly ends: readonly [string, string]
  readonly program: Program
}

/** @param damage Probability that a byte is flipped, dropped or doubled. */
export async function makeLine(seed: number, damage: number): Promise<Line> {
  const program = new Program('python3', [LINE, String(seed), String(damage)])
  const [, one, other] = await program.waitFor(/^(\S+) (\S+)\n/, 'stdout')
  return { ends: [one, other], program }
}
