// The commands there are, in the order of the help. Each is loaded only when it is asked for.

import type { Command } from './command.js'

export type Commands = Readonly<Record<string, () => Promise<{ readonly command: Command }>>>

export const COMMANDS: Commands = {
  serve: () => import('./serve.js'),
  check: () => import('./check.js'),
  produce: () => import('./produce.js'),
  consume: () => import('./consume.js'),
  query: () => import('./query.js'),
  streams: () => import('./streams.js'),
  groups: () => import('./groups.js'),
  queues: () => import('./queues.js'),
  upstreams: () => import('./upstreams.js'),
  devices: () => import('./devices.js'),
  bridge: () => import('./bridge.js'),
  origins: () => import('./origins.js'),
  verify: () => import('./verify.js'),
  ledger: () => import('./ledger.js'),
  tokens: () => import('./tokens.js'),
  passwd: () => import('./passwd.js'),
  doctor: () => import('./doctor.js'),
  bench: () => import('./bench.js'),
  completion: () => import('./completion.js'),
}
