// Waits for something that nothing announces, looking again each turn of the event loop; how long it may take is part of what is tested.

/** @throws Error naming `what` when it is not so within `timeoutMs`. */
export async function eventually(what: string, isSo: () => boolean, timeoutMs = 10_000): Promise<void> {
  const until = performance.now() + timeoutMs
  while (!isSo()) {
    if (performance.now() > until) throw new Error(`not within ${timeoutMs} ms: ${what}`)
    await new Promise((resolve) => setImmediate(resolve))
  }
}
