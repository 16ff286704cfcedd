// The options of `npm run sim`, and its help.

import { randomInt } from 'node:crypto'
import { parseArgs } from 'node:util'

export const HELP = `npm run sim [-- OPTION …]

Runs simulated devices against a node of their own, with all that goes wrong in the field, shows how they get through, and at the end looks for every
acknowledged message in the log. Ctrl-C ends it; the exit code is 1 if one is missing, or a serial device's is there twice.

Devices:
  --serial N          devices on serial lines, each on a pseudo terminal (default 3; needs socat)
  --udp N             MQTT-SN clients (default 0)
  --rate N            messages a second and device, 0: as many as go (default 2)
  --payload BYTES     (default 20)
  --window N          unacknowledged messages of a serial device (default 8)
  --key               serial devices have keys, and every frame a code

What goes wrong:
  --baud N            speed of the serial lines, 0: no limit (default 115200)
  --damage PERCENT    frames on serial lines in which a byte is flipped, lost or doubled, each way (default 1)
  --loss PERCENT      datagrams lost, each way (default 1)
  --duplicate PERCENT datagrams doubled (default 1)
  --reorder PERCENT   datagrams overtaken by the next (default 1)
  --reset SECONDS     mean time between resets of a device, 0: none (default 0)
  --forget            devices have no flash: what was not acknowledged is lost in a reset
  --seed N            the same noise again (default: another each time)

Where:
  --for SECONDS       ends by itself
  --ptys DIR          no node: makes the lines, DIR/node-0, DIR/node-1, …, for a node elsewhere: ports = ["DIR/node-*"]
  --gateway HOST:PORT no node: MQTT-SN clients speak to this gateway

Examples:
  npm run sim
  npm run sim -- --serial 20 --damage 5 --reset 30 --for 60
  npm run sim -- --serial 0 --udp 500 --rate 1 --loss 10
  npm run sim -- --ptys /tmp/lines        # and in another terminal a node with ports = ["/tmp/lines/node-*"]
`

export interface SimOptions {
  readonly serial: number
  readonly udp: number
  readonly rate: number
  readonly payload: number
  readonly window: number
  readonly baud: number
  readonly damage: number
  readonly loss: number
  readonly duplicate: number
  readonly reorder: number
  readonly reset: number
  readonly forget: boolean
  readonly key: boolean
  readonly seed: number
  /** 0: until it is ended. */
  readonly forSeconds: number
  readonly ptys: string | undefined
  readonly gateway: { readonly host: string; readonly port: number } | undefined
}

const STANDARD = {
  ...{ serial: 3, udp: 0, rate: 2, payload: 20, window: 8, baud: 115_200 },
  ...{ damage: 1, loss: 1, duplicate: 1, reorder: 1, reset: 0, for: 0 },
} as const
const MOST: Readonly<Record<string, number>> = {
  ...{ serial: 64, udp: 10_000, rate: 100_000, payload: 900, window: 1000, baud: 4_000_000 },
  ...{ damage: 100, loss: 100, duplicate: 100, reorder: 100, reset: 86_400, for: 86_400, seed: 2 ** 32 - 1 },
}
const TEXT = { type: 'string' } as const
const SWITCH = { type: 'boolean' } as const

/** @returns null when help was asked for. @throws Error that names the option. */
export function simOptions(args: readonly string[]): SimOptions | null {
  const numbers = Object.fromEntries([...Object.keys(STANDARD), 'seed'].map((name) => [name, TEXT]))
  const switches = { key: SWITCH, forget: SWITCH, help: { ...SWITCH, short: 'h' } }
  const parsed = parseArgs({ args: [...args], options: { ...numbers, ptys: TEXT, gateway: TEXT, ...switches } })
  const values: Readonly<Record<string, unknown>> = parsed.values
  if (values['help'] === true) return null
  const number = (name: string, standard: number): number => {
    const text = values[name]
    const value = text === undefined ? standard : Number(text)
    if (text === '' || Number.isNaN(value) || value < 0 || value > MOST[name])
      throw new Error(`--${name} takes a number from 0 to ${MOST[name]}, not ${JSON.stringify(text)}`)
    return value
  }
  const share = (name: 'damage' | 'loss' | 'duplicate' | 'reorder') => number(name, STANDARD[name]) / 100
  const whole = (name: 'serial' | 'udp' | 'payload' | 'window' | 'baud') => Math.floor(number(name, STANDARD[name]))
  const { ptys, gateway } = values as { readonly ptys?: string; readonly gateway?: string }
  return {
    ...{ serial: whole('serial'), udp: whole('udp'), payload: whole('payload'), baud: whole('baud') },
    ...{ damage: share('damage'), loss: share('loss'), duplicate: share('duplicate'), reorder: share('reorder') },
    window: Math.max(1, whole('window')),
    rate: number('rate', STANDARD.rate),
    reset: number('reset', STANDARD.reset),
    forSeconds: number('for', STANDARD.for),
    seed: Math.floor(number('seed', randomInt(2 ** 31))),
    forget: values['forget'] === true,
    key: values['key'] === true,
    ptys,
    gateway: gateway === undefined ? undefined : addressOf(gateway),
  }
}

function addressOf(text: string): { host: string; port: number } {
  const [, host, port] = /^\[?([^\]]+)\]?:(\d{1,5})$/.exec(text) ?? []
  if (port === undefined) throw new Error(`--gateway takes HOST:PORT, not ${JSON.stringify(text)}`)
  return { host, port: Number(port) }
}
