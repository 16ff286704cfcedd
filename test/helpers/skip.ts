// Skips that are seen: uvu counts skipped tests but forgets which and why. `npm test` lists the lines this prints.

import type { Test } from 'uvu'

/**
 * The test function itself when `reason` is null, else one that skips each test and says why.
 * Usage: `const withMosquitto = unlessSkipped(test, mosquitto.available ? null : 'mosquitto is not installed')`.
 */
export function unlessSkipped(test: Test, reason: string | null): (name: string, handler: () => unknown) => void {
  return (name, handler) => {
    if (reason === null) {
      test(name, async () => {
        await handler()
      })
      return
    }
    process.stdout.write(`SKIP ${name}: ${reason}\n`)
    test.skip(name)
  }
}
