// Waits for what only another process can tell: asks again and again, and says what it got last when it never comes.

import { setTimeout as wait } from 'node:timers/promises'

const EVERY_MS = 50

/** @returns the first answer for which `isSo`. @throws Error with the last one after `timeoutMs`. */
export async function until<T>(
  what: string,
  ask: () => Promise<T>,
  isSo: (answer: T) => boolean,
  timeoutMs = 60_000,
): Promise<T> {
  const giveUpAt = performance.now() + timeoutMs
  for (;;) {
    const answer = await ask()
    if (isSo(answer)) return answer
    if (performance.now() > giveUpAt)
      throw new Error(`not within ${timeoutMs} ms: ${what}; the last answer was ${JSON.stringify(answer)}`)
    await wait(EVERY_MS)
  }
}
