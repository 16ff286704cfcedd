// Which characters a string of MQTT may hold: topic names, filters, client identifiers, user names.

/**
 * U+0000 must close the connection it comes over [MQTT-1.5.3-2]. The other control characters, U+0001 to U+001F and U+007F to U+009F, and what
 * Unicode keeps from being characters, as U+FFFF, should not be sent, and whoever receives them may close as well (MQTT 3.1.1 section 1.5.3).
 * mosquitto does: a message that was taken here under such a name would cost its upstream a connection at every attempt.
 */
const NOT_TEXT = /[\p{Cc}\p{Noncharacter_Code_Point}]/u

/** @returns what is wrong with its characters, as a phrase that follows "topic …" or "client identifier …", or null if nothing is. */
export function characterProblem(text: string): string | null {
  const found = NOT_TEXT.exec(text)
  if (found === null) return null
  const code = found[0].codePointAt(0)!.toString(16).toUpperCase().padStart(4, '0')
  return `contains U+${code}, a control character or no character at all`
}
