// Devices that come in through the firmware bridge: how each is doing, and each line they come over.

import { SluiceError } from '../../base/errors.js'
import { snakeCased } from '../../base/snake-case.js'
import { quote } from '../parameters.js'
import { jsonReply, type Route } from '../route.js'

/** What is known of a device; field names are camel case here and snake case on the wire. */
export interface DeviceNumbers {
  readonly id: string
  /** The name of its [[firmware]] entry. */
  readonly line: string
  readonly connected: boolean
  readonly published: number
  readonly resends: number
  readonly gaps: number
  readonly crcErrors: number
  readonly delivered: number
  readonly rejected: Readonly<Record<string, number>>
}

export interface LineNumbers {
  readonly line: string
  readonly address: string
  readonly open: boolean
  readonly damagedFrames: number
  readonly rejected: Readonly<Record<string, number>>
}

/** What the routes need of the firmware bridge. */
export interface DevicesPort {
  list(): readonly DeviceNumbers[]
  lines(): readonly LineNumbers[]
}

export function deviceRoutes({ devices }: { readonly devices: DevicesPort }): Route[] {
  return [
    {
      method: 'GET',
      pattern: '/v1/devices',
      handle: () => jsonReply({ devices: devices.list().map(snakeCased), lines: devices.lines().map(snakeCased) }),
    },
    {
      method: 'GET',
      pattern: '/v1/devices/{device}',
      handle({ params }) {
        const id = params['device']
        const found = devices.list().filter((device) => device.id === id)
        if (found.length === 0)
          throw new SluiceError('NOT_FOUND', `no device ${quote(id)} has been heard of`, { device: id })
        return jsonReply({ devices: found.map(snakeCased) })
      },
    },
  ]
}
