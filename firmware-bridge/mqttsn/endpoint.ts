// Where a client is: the address its datagrams come from, and behind a forwarder the wireless node there.

export interface Endpoint {
  readonly address: string
  readonly port: number
  /** Of the wireless node, in hex; empty without a forwarder. */
  readonly nodeId: string
  /** Which of the gateway's sockets it came by. */
  readonly via: number
}

export function endpointKey({ address, port, nodeId }: Endpoint): string {
  return `${address} ${port} ${nodeId}`
}

/** For people. */
export function describeEndpoint({ address, port, nodeId }: Endpoint): string {
  const host = address.includes(':') ? `[${address}]` : address
  return nodeId === '' ? `${host}:${port}` : `${host}:${port}/${nodeId}`
}

/** The same address, and behind a forwarder the same wireless node; the port may be another. */
export function isSamePlace(a: Endpoint, b: Endpoint): boolean {
  return a.address === b.address && a.nodeId === b.nodeId
}
