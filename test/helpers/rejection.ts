// For asserting that something fails, and how.

import { SluiceError } from '../../src/base/errors.js'

/** The code with which `action` fails; @throws Error when it does not fail, or not with a SluiceError. */
export async function codeOf(action: Promise<unknown> | (() => unknown)): Promise<string> {
  return (await errorOf(action)).code
}

/** The SluiceError with which `action` fails. @throws like codeOf. */
export async function errorOf(action: Promise<unknown> | (() => unknown)): Promise<SluiceError> {
  try {
    await (typeof action === 'function' ? action() : action)
  } catch (error) {
    if (error instanceof SluiceError) return error
    throw error
  }
  throw new Error('expected a SluiceError, but nothing failed')
}
