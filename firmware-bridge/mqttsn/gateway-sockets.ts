// The sockets of a gateway: where it listens, the multicast group where it says that it is there, and what has come and gone by each. Created by Gateway.

import type { Socket } from 'node:dgram'
import type { LineStatus } from '../devices/device-registry.js'
import { encodeMessage } from './codec.js'
import { describeEndpoint, type Endpoint } from './endpoint.js'
import { wrapForwarded } from './forwarder.js'
import type { GatewayHost, GatewayOptions } from './gateway-options.js'
import { bindUdp, joinGroup, type UdpAddress } from './udp-socket.js'

type SocketOptions = Pick<GatewayOptions, 'name' | 'listen' | 'multicast' | 'advertiseMs' | 'gatewayId'>

/** @param via Which of the sockets it came by. */
type OnDatagram = (datagram: Buffer, address: string, port: number, via: number) => void

export class GatewaySockets {
  /** By `via`. */
  readonly status: LineStatus[] = []
  private readonly sockets: Socket[] = []
  private groupSocket: Socket | null = null
  private timer: NodeJS.Timeout | undefined
  private closed = false

  constructor(
    private readonly options: SocketOptions,
    private readonly host: Pick<GatewayHost, 'registry' | 'logger'>,
    private readonly onDatagram: OnDatagram,
  ) {}

  /** @throws SluiceError ADDRESS_IN_USE, INVALID_CONFIG; some may be open then. */
  async open(): Promise<void> {
    const { listen, multicast, advertiseMs, name } = this.options
    for (const [via, address] of listen.entries()) {
      const socket = await bindUdp(address, (datagram, from, port) => this.onDatagram(datagram, from, port, via))
      this.sockets.push(socket)
      const at = describeEndpoint({ ...socket.address(), nodeId: '', via })
      const status = this.host.registry.line(name, 'mqtt-sn', at)
      status.open = true
      this.status.push(status)
      this.host.logger.info('MQTT-SN gateway listening', { line: name, address: at })
    }
    if (multicast === undefined) return
    this.groupSocket = await joinGroup(multicast, (datagram, from, port) => this.onDatagram(datagram, from, port, 0))
    this.timer = setInterval(() => this.advertise(multicast), advertiseMs).unref()
    this.advertise(multicast)
  }

  close(): void {
    this.closed = true
    clearInterval(this.timer)
    for (const socket of this.sockets) socket.close()
    this.groupSocket?.close()
    for (const status of this.status) status.open = false
  }

  /** Datagrams may be lost: nobody hears of one that could not be sent. */
  send({ address, port, nodeId, via }: Endpoint, bytes: Buffer): void {
    if (this.closed) return
    const wire = nodeId === '' ? bytes : wrapForwarded(Buffer.from(nodeId, 'hex'), bytes)
    // A client from before a restart may name a socket that is not configured any more.
    const at = via < this.sockets.length ? via : 0
    this.status[at].sentBytes += wire.length
    this.sockets[at].send(wire, port, address, () => {})
  }

  private advertise({ host, port }: UdpAddress): void {
    const { gatewayId, advertiseMs } = this.options
    const duration = Math.min(65_535, Math.ceil(advertiseMs / 1000))
    this.sockets[0].send(encodeMessage({ type: 'advertise', gatewayId, duration }), port, host, () => {})
  }
}
