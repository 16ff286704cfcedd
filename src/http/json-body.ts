// Takes request bodies apart: each function returns a value of the type asked for or throws INVALID_REQUEST with the path of what is wrong.

import { SluiceError } from '../base/errors.js'

type JsonObject = Readonly<Record<string, unknown>>

/** @param where Path of the value, for the message: `records[3]`. */
export function objectOf(value: unknown, where: string, known: readonly string[]): JsonObject {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw wrong(where, 'has to be an object')
  for (const name of Object.keys(value))
    if (!known.includes(name))
      throw wrong(where, `has an unknown field ${JSON.stringify(name)}: known are ${known.join(', ')}`)
  return value as JsonObject
}

export function listOf(value: unknown, where: string, maximum: number): readonly unknown[] {
  if (!Array.isArray(value)) throw wrong(where, 'has to be a list')
  if (value.length === 0 || value.length > maximum)
    throw wrong(where, `has ${value.length} entries: use 1 to ${maximum}`)
  return value
}

export function textOf(value: unknown, where: string): string {
  if (typeof value !== 'string') throw wrong(where, 'has to be a string')
  return value
}

export function optionalText(value: unknown, where: string): string | undefined {
  return value === undefined || value === null ? undefined : textOf(value, where)
}

export function integerOf(value: unknown, where: string, minimum = 0, maximum = Number.MAX_SAFE_INTEGER): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < minimum || value > maximum)
    throw wrong(where, `has to be a whole number from ${minimum} to ${maximum}`)
  return value
}

export function optionalInteger(value: unknown, where: string, otherwise: number): number {
  return value === undefined ? otherwise : integerOf(value, where)
}

export function booleanOf(value: unknown, where: string, otherwise: boolean): boolean {
  if (value === undefined) return otherwise
  if (typeof value !== 'boolean') throw wrong(where, 'has to be true or false')
  return value
}

/** Base64 as RFC 4648 has it; Node's own decoder skips over whatever it does not know. */
export function base64Of(value: unknown, where: string): Buffer {
  const text = textOf(value, where)
  if (text.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(text)) throw wrong(where, 'has to be base64')
  return Buffer.from(text, 'base64')
}

function wrong(where: string, what: string): SluiceError {
  return new SluiceError('INVALID_REQUEST', `${where} ${what}`, { field: where })
}
