// Loaded into every test process before the test (test-file.ts). uvu prints an error's `details` by calling `split` on it, and prints nothing
// at all of an error whose details are no string, such as a SluiceError's: there the details answer with the lines of their inspection.
import { inspect } from 'node:util'

Object.defineProperty(Object.prototype, 'split', {
  configurable: true,
  enumerable: false,
  writable: true,
  value(this: object, separator: string): string[] {
    return inspect(this).split(separator)
  },
})
