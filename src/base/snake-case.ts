// Names as the wire and the configuration spell them.

/** `maxInFlight` as `max_in_flight`. */
export function snakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
}
