// Which of a client's parts each of its messages is for.

import type { SnMessage, SnMessageOf } from './messages.js'
import type { SnClient } from './sn-client.js'

type Handlers = { readonly [T in SnMessage['type']]?: (client: SnClient, message: SnMessageOf<T>) => void }

/** What a client sends of itself and expects an answer to. */
const REQUESTS: Handlers = {
  publish: (client, message) => client.publish(message),
  pubrel: (client, { messageId }) => client.pubrel(messageId),
  register: (client, message) => client.register(message),
  subscribe: (client, message) => client.subscribe(message),
  unsubscribe: (client, message) => client.unsubscribe(message),
  pingreq: ({ presence }, { clientId }) => presence.ping(clientId),
  willtopicupd: (client, message) => client.updateWillTopic(message),
  willmsgupd: (client, message) => client.updateWillMessage(message),
}

const OTHERS: Handlers = {
  disconnect: ({ presence }, { duration }) => presence.disconnect(duration),
  puback: ({ session }, message) => session.queue.onPuback(message),
  pubrec: ({ session }, { messageId }) => session.queue.onPubrec(messageId),
  pubcomp: ({ session }, { messageId }) => session.queue.onPubcomp(messageId),
  regack: ({ session }, message) => session.queue.onRegack(message),
}

const HANDLERS: Handlers = { ...REQUESTS, ...OTHERS }

export function asksForAnswer({ type }: SnMessage): boolean {
  return type in REQUESTS
}

/** What no client sends is left alone. */
export function giveTo(client: SnClient, message: SnMessage): void {
  HANDLERS[message.type]?.(client, message as never)
}
