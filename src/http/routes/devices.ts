// Devices that come in through the firmware bridge: how each is doing, and each line they come over.

import { SluiceError } from '../../base/errors.js'
import { quote } from '../parameters.js'
import { jsonReply, type Route } from '../route.js'
import { snakeCased } from '../snake-cased.js'

/** What is known of a device; field names are camel case here and snake case on the wire. */
export interface DeviceNumbers {
  readonly id: string
}

/** What the routes need of the firmware bridge. */
export interface DevicesPort {
  list(): readonly DeviceNumbers[]
  lines(): readonly object[]
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
