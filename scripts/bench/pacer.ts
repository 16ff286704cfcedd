// Messages at a fixed rate, whatever the broker does (open loop). Between two messages it sleeps for real: a program that only asks what time it is
// takes a core away from the kernel's own threads, which carry the broker's writes to the disk, and measures that.

const cell = new Int32Array(new SharedArrayBuffer(4))
/** What comes in is looked at as often as this at least, so that a time of arrival is late by no more. */
const NAP_MS = 0.1

/** Calls `send` for each message when it is due, with the time at which it was (of `performance.now`). */
export async function paced(total: number, perSecond: number, send: (i: number, dueMs: number) => void): Promise<void> {
  const startMs = performance.now()
  const dueMs = (i: number): number => startMs + (i * 1000) / perSecond
  for (let i = 0; i < total; ) {
    const nowMs = performance.now()
    for (; i < total && dueMs(i) <= nowMs; i++) send(i, dueMs(i))
    await new Promise((resolve) => setImmediate(resolve))
    const left = dueMs(i) - performance.now()
    if (left > 0) Atomics.wait(cell, 0, 0, Math.min(NAP_MS, left))
  }
}
