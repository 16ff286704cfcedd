// A node for the time of a benchmark: a process of its own with ports of its own and an empty data directory beside the real one, so that it
// is measured on the same disk and nothing of what is stored is touched. The directory goes with it.

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { SluiceError } from '../../base/errors.js'

export const TRIAL_STREAM = 'bench'
/** What it keeps at most; with the segment being written, about what it takes of the disk. */
export const TRIAL_MAX_BYTES = 256 * 1024 * 1024
const CONFIG = `[[stream]]
name = "${TRIAL_STREAM}"
topics = ["#"]
retention = { max_bytes = "${TRIAL_MAX_BYTES}B" }
`
const READY = /^\{"ready".*\}$/m
const MAX_START_MS = 30_000
const MAX_COMPLAINT_CHARACTERS = 2000

export interface TrialNode {
  readonly mqttPort: number
  readonly httpUrl: string
  /** Resolves, when the node ends by itself, with why. */
  readonly ended: Promise<string>
  /** Ends it and removes its directory. */
  remove(): Promise<void>
}

/** @param folder Where its directory is made. @throws SluiceError when it does not get ready. */
export async function startTrialNode(folder: string, signal: AbortSignal): Promise<TrialNode> {
  const directory = await mkdtemp(join(folder, '.sluice-bench-'))
  const config = join(directory, 'sluice.toml')
  await writeFile(config, CONFIG)
  const environment = Object.entries(process.env).filter(([name]) => !name.startsWith('SLUICE_'))
  const child = spawn(
    process.execPath,
    [
      join(import.meta.dirname, '..', 'sluice.cjs'),
      'serve',
      '-q',
      '--json',
      '--config',
      config,
      '--data',
      join(directory, 'data'),
    ],
    {
      env: {
        ...Object.fromEntries(environment),
        SLUICE_MQTT_LISTEN: '127.0.0.1:0',
        SLUICE_HTTP_LISTEN: '127.0.0.1:0',
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  )
  const exited = once(child, 'exit').catch(() => {})
  const remove = async (): Promise<void> => {
    child.kill('SIGKILL')
    await exited
    await rm(directory, { recursive: true, force: true })
  }
  try {
    return { ...(await whenReady(child, signal)), remove }
  } catch (error) {
    await remove()
    throw error
  }
}

/** Calls back once the signal is aborted, at once if it is already. */
export function onAbort(signal: AbortSignal, callback: () => void): void {
  if (signal.aborted) callback()
  else signal.addEventListener('abort', callback, { once: true })
}

function whenReady(child: ChildProcess, signal: AbortSignal): Promise<Omit<TrialNode, 'remove'>> {
  let said = ''
  let complaint = ''
  const ended = new Promise<string>((resolve) => {
    child.once('exit', (code, by) => resolve(`it ended with ${by ?? `exit code ${code}`}: ${complaint.trim()}`))
    child.once('error', (error) => resolve(error.message))
  })
  return new Promise((resolve, reject) => {
    const fail = (reason: string): void =>
      reject(new SluiceError('NOT_REACHABLE', `the node to be measured did not start: ${reason}`))
    const timer = setTimeout(() => fail(`not ready within ${MAX_START_MS / 1000} s`), MAX_START_MS)
    onAbort(signal, () => fail('interrupted'))
    void ended.then((reason) => {
      clearTimeout(timer)
      fail(reason)
    })
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      complaint = (complaint + text).slice(-MAX_COMPLAINT_CHARACTERS)
    })
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      said += text
      const line = READY.exec(said)
      if (line === null) return
      clearTimeout(timer)
      const { mqtt, http } = JSON.parse(line[0]) as { mqtt: string[]; http: string[] }
      resolve({ mqttPort: Number(new URL(mqtt[0]).port), httpUrl: http[0], ended })
    })
  })
}
