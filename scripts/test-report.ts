// Loaded into every test process before the test (test-file.ts). uvu shows no code and no cause of an error, and where the error's `details` are an
// object, as a SluiceError's are, it fails while it writes the report: nothing of the error is shown, no test after it is run, and the file exits with 0.
//
// uvu reads an error's `details` and `operator`, then shows the operator behind the message and the lines that `details.split` gives. So an error
// without an operator answers here with its code, and its details learn to split into the lines of their inspection.
import { inspect } from 'node:util'

interface Shown {
  code?: unknown
  details?: unknown
  cause?: unknown
}

Object.defineProperty(Error.prototype, 'operator', {
  configurable: true,
  get(this: Error & Shown): string {
    const { code, details, cause } = this
    if (typeof details === 'object' && details !== null) {
      const shown = inspect(cause === undefined ? details : { ...details, cause })
      Object.defineProperty(details, 'split', { configurable: true, value: (by: string) => shown.split(by) })
    }
    return typeof code === 'string' ? code : ''
  },
  /** What has an operator of its own, an assertion, keeps it. */
  set(this: Error, value: unknown) {
    Object.defineProperty(this, 'operator', { configurable: true, enumerable: true, writable: true, value })
  },
})

process.setSourceMapsEnabled(true)
