// Compiles the C side on the spot, with every warning an error.

import { spawnSync } from 'node:child_process'
import { join } from 'node:path'

const ROOT = join(import.meta.dirname, '..', '..', '..')
const FLAGS = ['-std=c99', '-Wall', '-Wextra', '-Werror', '-pedantic']
export const C_FOLDER = join(ROOT, 'firmware-bridge', 'c')
export const AUTH_SOURCE = join(C_FOLDER, 'sluice_auth.c')
export const CLIENT_SOURCE = join(C_FOLDER, 'sluice_serial.c')

/** The MQTT-SN client, and what its seal needs. */
export const MQTTSN_SOURCES = [join(C_FOLDER, 'sluice_mqttsn.c'), AUTH_SOURCE]

/** Null when there is a compiler, else why not. */
export const noCompiler = spawnSync('gcc', ['--version']).status === 0 ? null : 'gcc is not installed'

/** A source of test/firmware-bridge/c. */
export function testSource(name: string): string {
  return join(ROOT, 'test', 'firmware-bridge', 'c', name)
}

/** @throws Error with what the compiler says. */
export function compile(output: string, sources: readonly string[], ...flags: readonly string[]): void {
  const { status, stderr } = spawnSync('gcc', [...FLAGS, ...flags, '-o', output, ...sources], { encoding: 'utf8' })
  if (status !== 0) throw new Error(`gcc: ${stderr}`)
}
