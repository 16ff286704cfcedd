// Who may connect to a gateway, and from where. Decides and changes nothing.

import type { Rejection } from '../devices/device-registry.js'
import type { DeviceTable, KnownDevice } from '../devices/device-table.js'
import { PROTOCOL_ID } from './codec.js'
import { type Endpoint, isSamePlace } from './endpoint.js'
import type { GatewayOptions } from './gateway-options.js'
import { type ConnectMessage, RETURN_CODE } from './messages.js'
import type { SecureSession } from './secure-sessions.js'
import type { SnClient } from './sn-client.js'

/** Where a message came from, and who says so. */
export interface Origin {
  readonly endpoint: Endpoint
  /** Null for a message without a seal. */
  readonly secure: SecureSession | null
}

/** Why not: as it is counted, and as the client is told. */
export const REFUSALS = {
  version: ['wrong_version', RETURN_CODE.notSupported],
  device: ['unknown_device', RETURN_CODE.notSupported],
  key: ['wrong_key', RETURN_CODE.notSupported],
  place: ['wrong_place', RETURN_CODE.congestion],
  full: ['limit_reached', RETURN_CODE.congestion],
} as const satisfies Record<string, readonly [Rejection, number]>

export interface Admission {
  readonly options: Pick<GatewayOptions, 'maxClients' | 'maxClientsPerAddress'>
  readonly devices: DeviceTable
  readonly clients: ReadonlyMap<string, SnClient>
}

/** @returns the device, or why it may not. */
export function mayConnect(
  { options, devices, clients }: Admission,
  { clientId, protocolId }: ConnectMessage,
  { endpoint, secure }: Origin,
): KnownDevice | keyof typeof REFUSALS {
  if (protocolId !== PROTOCOL_ID) return 'version'
  const known = devices.find(clientId)
  if (known === null) return 'device'
  if (secure !== null && secure.device.id !== clientId) return 'key'
  const client = clients.get(clientId)
  if (client !== undefined) {
    // Without a key nobody but its own address can say that this is the client: others wait until it is gone.
    const mine = secure !== null || client.state === 'gone' || isSamePlace(client.endpoint, endpoint)
    return mine ? known : 'place'
  }
  if (clients.size >= options.maxClients) return 'full'
  let atAddress = 0
  for (const { endpoint: other } of clients.values()) if (other.address === endpoint.address) atAddress += 1
  return atAddress >= options.maxClientsPerAddress ? 'full' : known
}
