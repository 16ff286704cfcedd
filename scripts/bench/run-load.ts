// Runs one of the load programs beside a broker, on a core of its own.

import { join } from 'node:path'
import { Program } from '../../test/helpers/program.js'
import type { BenchOptions } from './workload.js'

/** @returns the JSON that the program prints last. @throws Error with its words when it fails. */
export async function runLoad<R>(
  name:
    | 'load-generator'
    | 'fan-out-load'
    | 'latency-load'
    | 'followers-load'
    | 'firmware-load'
    | 'pull-load'
    | 'commit-load',
  shape: unknown,
  { loadCore }: BenchOptions,
  /** Called at each `at NAME` that the program prints; it goes on afterwards. */
  onCheckpoint: (name: string) => void = () => {},
): Promise<R> {
  const script = join(import.meta.dirname, `${name}.js`)
  const program = new Program(process.execPath, [script, JSON.stringify(shape)], { core: loadCore })
  let checkpoints = 0
  const watch = setInterval(() => {
    const seen = program.stdout.match(/^at \S+$/gm) ?? []
    for (; checkpoints < seen.length; checkpoints++) {
      onCheckpoint(seen[checkpoints].slice(3))
      program.stdin.write('go\n')
    }
  }, 20)
  const { code } = await program.ended
  clearInterval(watch)
  if (code !== 0) throw new Error(`${name}: ${program.stderr.trim()}`)
  return JSON.parse(program.stdout.trim().split('\n').pop() ?? '') as R
}
