// What the writer of the crash test stores: each payload tells where it belongs, and its length differs from its neighbours'.

export const CRASH_STREAM = 'crash'

export function crashPayload(round: number, partition: number, offset: number): string {
  return `${round}:${partition}:${offset}:${'x'.repeat((offset * 7919) % 700)}`
}
