// How busy the machine is with something else: a figure taken beside other work says little, above all one of latency.

import { cpus } from 'node:os'

/** @returns part of all cores' time that somebody took, 0 to 1, while this program did nothing for `milliseconds`. */
export async function busyShare(milliseconds: number): Promise<number> {
  const before = times()
  await new Promise((resolve) => setTimeout(resolve, milliseconds))
  const after = times()
  const total = after.total - before.total
  return total === 0 ? 0 : 1 - (after.idle - before.idle) / total
}

function times(): { readonly idle: number; readonly total: number } {
  let idle = 0
  let total = 0
  for (const { times: core } of cpus()) {
    idle += core.idle
    total += core.user + core.nice + core.sys + core.irq + core.idle
  }
  return { idle, total }
}
