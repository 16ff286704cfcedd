// What a process has used so far, from /proc: of tests and benchmarks.

import { readFileSync } from 'node:fs'

/** Linux counts in hundredths of a second for programs, whatever the kernel's own clock [proc(5), sysconf(_SC_CLK_TCK)]. */
const TICKS_PER_SECOND = 100

/** User and system time, all threads. */
export function cpuSecondsOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
  // The second field is the name, in brackets, and may hold anything.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND
}

/** Memory that no file backs, bytes. @param pid Default: this process. @throws Error when there is no such process. */
export function rssAnonOf(pid: number | 'self' = 'self'): number {
  const status = readFileSync(`/proc/${pid}/status`, 'latin1')
  return Number(/^RssAnon:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024
}

/** @param line `VmRSS`: now; `VmHWM`: at most so far. @returns KB; 0 where there is no /proc, or no such process any more. */
export function residentKb(pid: number, line: 'VmRSS' | 'VmHWM'): number {
  try {
    return Number(new RegExp(`${line}:\\s+(\\d+)`).exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0)
  } catch {
    return 0
  }
}
