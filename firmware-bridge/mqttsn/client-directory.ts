// The clients that a gateway knows: by their id, by where they are, and under which session of the seal they speak. Changes nothing of a client but its
// place. Created by Gateway.

import type { Origin } from './admission.js'
import { describeEndpoint, type Endpoint, endpointKey, isSamePlace } from './endpoint.js'
import type { SnMessage } from './messages.js'
import type { SecureSession } from './secure-sessions.js'
import type { SnClient } from './sn-client.js'

export class ClientDirectory {
  private readonly clients = new Map<string, SnClient>()
  private readonly byEndpoint = new Map<string, SnClient>()
  private readonly secureOf = new WeakMap<SnClient, SecureSession>()

  /** By client id. */
  get byId(): ReadonlyMap<string, SnClient> {
    return this.clients
  }

  /** One that is where its endpoint says. */
  add(client: SnClient): void {
    this.clients.set(client.clientId, client)
    this.byEndpoint.set(endpointKey(client.endpoint), client)
  }

  remove(client: SnClient): void {
    this.clients.delete(client.clientId)
    const key = endpointKey(client.endpoint)
    if (this.byEndpoint.get(key) === client) this.byEndpoint.delete(key)
  }

  /** @returns whose message it is: by its key, its address, or the name it gives itself there; null for nobody's. */
  whose(message: SnMessage, { endpoint, secure }: Origin): SnClient | null {
    const named = message.type === 'pingreq' ? message.clientId : null
    if (secure !== null) {
      const client = this.clients.get(secure.device.id)
      if (client === undefined || (named !== null && named !== secure.device.id)) return null
      // Whoever has the key may be anywhere.
      this.secureBy(client, secure)
      this.bind(client, endpoint)
      return client
    }
    const here = this.byEndpoint.get(endpointKey(endpoint))
    if (named === null || here?.clientId === named) return here ?? null
    const client = this.clients.get(named)
    if (client === undefined || !isSamePlace(client.endpoint, endpoint)) return null
    this.bind(client, endpoint)
    return client
  }

  /** The client is there now. */
  bind(client: SnClient, endpoint: Endpoint): void {
    const key = endpointKey(endpoint)
    const before = endpointKey(client.endpoint)
    if (this.byEndpoint.get(before) === client && before !== key) this.byEndpoint.delete(before)
    this.byEndpoint.set(key, client)
    client.device.address = describeEndpoint(endpoint)
    if (before !== key || client.endpoint.via !== endpoint.via) client.moveTo(endpoint)
  }

  /** The client speaks under this session from now on. */
  secureBy(client: SnClient, secure: SecureSession): void {
    this.secureOf.set(client, secure)
    client.sealedBy(secure.id.toString('hex'))
  }

  /** @returns the session under which it speaks; null where it has said no hello since the gateway's start. */
  sessionOf(client: SnClient): SecureSession | null {
    return this.secureOf.get(client) ?? null
  }
}
