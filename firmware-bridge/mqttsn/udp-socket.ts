// A UDP socket of the gateway, bound when it is handed out.

import { createSocket, type Socket } from 'node:dgram'
import { isIPv6 } from 'node:net'
import { SluiceError } from '../../src/index.js'

/** A burst of many clients waits here while the process is busy. */
const RECEIVE_BUFFER_BYTES = 1024 * 1024

export interface UdpAddress {
  readonly host: string
  readonly port: number
}

export type OnDatagram = (datagram: Buffer, address: string, port: number) => void

/** @throws SluiceError ADDRESS_IN_USE, INVALID_CONFIG. */
export async function bindUdp({ host, port }: UdpAddress, onDatagram: OnDatagram): Promise<Socket> {
  const socket = createSocket({ type: isIPv6(host) ? 'udp6' : 'udp4' })
  return bound(socket, { host, port }, onDatagram)
}

/** Hears what is sent to a multicast group, on all interfaces that the system chooses. @throws as bindUdp. */
export async function joinGroup({ host, port }: UdpAddress, onDatagram: OnDatagram): Promise<Socket> {
  const type = isIPv6(host) ? 'udp6' : 'udp4'
  const socket = createSocket({ type, reuseAddr: true })
  await bound(socket, { host: type === 'udp6' ? '::' : '0.0.0.0', port }, onDatagram)
  try {
    socket.addMembership(host)
    return socket
  } catch (error) {
    socket.close()
    throw bindError({ host, port }, error as NodeJS.ErrnoException)
  }
}

async function bound(socket: Socket, { host, port }: UdpAddress, onDatagram: OnDatagram): Promise<Socket> {
  socket.on('message', (datagram, from) => onDatagram(datagram, from.address, from.port))
  await new Promise<void>((resolve, reject) => {
    socket.once('error', (error: NodeJS.ErrnoException) => reject(bindError({ host, port }, error)))
    socket.bind(port, host, resolve)
  })
  socket.removeAllListeners('error')
  // A datagram that could not be sent is as good as lost on the way.
  socket.on('error', () => {})
  try {
    socket.setRecvBufferSize(RECEIVE_BUFFER_BYTES)
  } catch {} // what the system gives has to do
  return socket
}

function bindError({ host, port }: UdpAddress, error: NodeJS.ErrnoException): SluiceError {
  const at = `${host.includes(':') ? `[${host}]` : host}:${port}`
  if (error.code === 'EADDRINUSE')
    return new SluiceError(
      'ADDRESS_IN_USE',
      `UDP ${at} is taken by another program, perhaps another MQTT-SN gateway: stop it, or set listen of the [[firmware]] entry to a free port`,
      { address: at },
      error,
    )
  return new SluiceError(
    'INVALID_CONFIG',
    `cannot listen on UDP ${at}: ${error.message}; check listen and multicast of the [[firmware]] entry`,
    { address: at },
    error,
  )
}
