// Asks for a password: on a terminal without showing it, else the first line of what is piped in.

import type { CommandContext } from './command.js'

/** More than MQTT can carry; the rest of an endless line is not gathered. */
const MAX_SECRET_BYTES = 65_536

type Terminal = Pick<CommandContext, 'stdin' | 'stderr'>

/** @returns null when it was broken off (Ctrl-C, Ctrl-D, end of input). */
export async function readSecret(prompt: string, { stdin, stderr }: Terminal): Promise<string | null> {
  if (stdin.isTTY !== true) return readLine(stdin)
  await stderr.write(prompt)
  stdin.setRawMode?.(true)
  try {
    return await readHidden(stdin)
  } finally {
    stdin.setRawMode?.(false)
    stdin.pause()
    await stderr.line('')
  }
}

function readHidden(stdin: Terminal['stdin']): Promise<string | null> {
  return new Promise((resolve) => {
    let typed = ''
    const settle = (result: string | null): void => {
      stdin.off('data', take)
      stdin.off('end', end)
      resolve(result)
    }
    const end = (): void => settle(null)
    const take = (chunk: Buffer): void => {
      for (const character of chunk.toString('utf8')) {
        const entered = character === '\r' || character === '\n'
        // Ctrl-C and Ctrl-D.
        if (entered || character === '\x03' || character === '\x04') {
          settle(entered ? typed : null)
          break
        }
        if (character === '\x7f' || character === '\b') typed = [...typed].slice(0, -1).join('')
        // Ctrl-U.
        else if (character === '\x15') typed = ''
        else if (character >= ' ' && typed.length < MAX_SECRET_BYTES) typed += character
      }
    }
    stdin.on('data', take)
    stdin.on('end', end)
    stdin.resume()
  })
}

async function readLine(stdin: Terminal['stdin']): Promise<string | null> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of stdin as AsyncIterable<Buffer>) {
    chunks.push(Buffer.from(chunk))
    bytes += chunk.length
    if (chunk.includes(10) || bytes > MAX_SECRET_BYTES) break
  }
  return bytes === 0 ? null : Buffer.concat(chunks).toString('utf8').split(/\r?\n/, 1)[0]
}
