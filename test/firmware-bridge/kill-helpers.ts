// What the tests have in common that kill devices, bridges and nodes: programs that do not outlive their test, the device of C on a noisy line, and the
// two claims: what was acknowledged is stored, and nothing is stored twice.

import { join } from 'node:path'
import * as assert from 'uvu/assert'
import type { NodeProcess } from '../helpers/node-process.js'
import { Program } from '../helpers/program.js'
import { readStream } from '../helpers/stream-reader.js'
import { tempDir } from '../helpers/temp-dir.js'
import { AUTH_SOURCE, CLIENT_SOURCE, compile, testSource } from './compile.js'

export const WAIT_MS = 120_000
/** Frames of these tests have some 25 bytes: one in twenty is damaged. */
export const DAMAGED_BYTES = 0.002

const running = new Set<Program>()

export async function stopPrograms(): Promise<void> {
  for (const program of running) await program.stop('SIGKILL')
  running.clear()
}

/** Stopped by `stopPrograms`. */
export function watched(program: Program): Program {
  running.add(program)
  return program
}

/** @returns how to start it: see device.c. `flash` is where it keeps its numbers; `-` for one that forgets. */
export function serialDevice(tty: string, key = '-'): (run: string, last: number, flash: string) => Program {
  const program = join(tempDir(), 'device')
  const sources = [testSource('device.c'), CLIENT_SOURCE, AUTH_SOURCE]
  compile(program, sources, '-O2', '-DSLUICE_AUTH=1', '-DSLUICE_RETRY_MS=40', '-DSLUICE_WINDOW=8')
  return (run, last, flash) => watched(new Program(program, [tty, 'pump-7', run, String(last), flash, key]))
}

export async function killNode(node: NodeProcess): Promise<void> {
  await node.kill('SIGKILL')
  await node.startAgain()
}

/** Messages of the device, in the order of the log. */
export async function storedAt(node: NodeProcess): Promise<string[]> {
  const messages = await readStream(node, 'devices')
  return messages.filter(({ mqttTopic }) => mqttTopic === 'devices/pump-7/m').map(({ payload }) => payload)
}

/** All up to here it knows to be stored. */
export function ackedTo(device: Program): number {
  return Number(/^A \S+ (\d+)$/m.exec(device.stdout.slice(device.stdout.lastIndexOf('\nA ')).trim())?.[1] ?? 0)
}

/** Matches once the device has been acknowledged up to a number, or up to the last: one that starts with nothing left to send only says `done`. */
export class AckedTo extends RegExp {
  constructor(private readonly number: number) {
    super(`A .* at least ${number}`)
  }
  override exec(output: string): RegExpExecArray | null {
    const done = /^done \d+$/m.exec(output)
    if (done !== null) return done
    const match = /\nA \S+ (\d+)\n(?:M .*\n)*$/.exec(`\n${output.slice(-2000)}`)
    return match !== null && Number(match[1]) >= this.number ? match : null
  }
}

export const numbered = (name: string, from: number, to: number): string[] =>
  Array.from({ length: to - from + 1 }, (_, i) => `${name}-${from + i}`)

export function checkLog(acked: Iterable<string>, stored: readonly string[]): void {
  const different = new Set(stored)
  assert.is(stored.length - different.size, 0, 'duplicates in the log')
  assert.equal(
    [...acked].filter((message) => !different.has(message)),
    [],
    'acknowledged, but not in the log',
  )
}
