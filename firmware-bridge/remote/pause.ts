import { setTimeout } from 'node:timers/promises'

/** Between two attempts at something that goes over the network: resolves after `ms`, or as soon as nothing is to be tried any more. */
export async function pause(ms: number, stopped: AbortSignal): Promise<void> {
  await setTimeout(ms, undefined, { signal: stopped }).catch(() => {})
}
