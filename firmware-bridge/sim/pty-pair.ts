// A serial line without hardware: two terminal devices that socat joins, each at a path of our choice.

import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, constants, openSync } from 'node:fs'
import { SluiceError } from '../../src/index.js'

export interface PtyPair {
  readonly deviceEnd: string
  readonly nodeEnd: string
  close(): void
}

/** @throws SluiceError NOT_REACHABLE when socat is not installed or cannot make them. */
export async function makePtyPair(deviceEnd: string, nodeEnd: string): Promise<PtyPair> {
  const end = (path: string) => `pty,raw,echo=0,link=${path}`
  const socat = spawn('socat', ['-d', '-d', end(deviceEnd), end(nodeEnd)], { stdio: ['ignore', 'ignore', 'pipe'] })
  await started(socat)
  // socat ends with the last who has an end open: this one stays until `close`, and reads nothing.
  const held = [deviceEnd, nodeEnd].map((path) => openSync(path, constants.O_RDWR | constants.O_NOCTTY))
  return {
    deviceEnd,
    nodeEnd,
    close() {
      socat.kill()
      for (const descriptor of held) closeSync(descriptor)
    },
  }
}

function started(socat: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    let words = ''
    const failed = (why: string) =>
      reject(new SluiceError('NOT_REACHABLE', `no pseudo terminals: ${why}; is socat installed (apt install socat)?`))
    socat.once('error', (error) => failed(error.message))
    socat.once('exit', () => failed(words.trim() || 'socat ended'))
    socat.stderr?.setEncoding('utf8').on('data', (text: string) => {
      words = (words + text).slice(-2000)
      if (words.includes('starting data transfer loop')) resolve()
    })
  })
}
