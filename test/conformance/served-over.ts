// Conformance tests run against a real `sluice serve` in a process of its own, reached as devices reach it: over TCP, TLS, WebSocket, and
// WebSocket over TLS.

import { readFileSync } from 'node:fs'
import { connect as connectTcp } from 'node:net'
import type { Duplex } from 'node:stream'
import { connect as connectTls } from 'node:tls'
import { suite, type Test } from 'uvu'
import { createWebSocketStream, WebSocket } from 'ws'
import { Authority, opensslMissing } from '../helpers/certificates.js'
import { NodeProcess } from '../helpers/node-process.js'
import { unlessSkipped } from '../helpers/skip.js'
import { connectPacket, type publishOf, publishPacket, RawClient, subscribePacket } from '../mqtt/raw-client.js'

export type Transport = 'mqtt' | 'mqtts' | 'ws' | 'wss'
export const TRANSPORTS: readonly Transport[] = ['mqtt', 'mqtts', 'ws', 'wss']

/** The node under test, over one transport. */
export class Served {
  node!: NodeProcess
  private ca: Buffer | undefined
  private port = 0

  constructor(readonly transport: Transport) {}

  async start(): Promise<void> {
    const authority = isSecure(this.transport) ? new Authority() : null
    const server = authority?.issue('node')
    const lines = ['[mqtt]', 'connect_timeout_ms = 3000']
    if (server !== undefined) lines.push(`cert_file = "${server.certFile}"`, `key_file = "${server.keyFile}"`)
    const env = this.transport === 'mqtt' ? {} : { SLUICE_MQTT_LISTEN: `127.0.0.1:0,${this.transport}://127.0.0.1:0` }
    this.node = await NodeProcess.start({ config: lines.join('\n'), env })
    this.ca = authority === null ? undefined : readFileSync(authority.caFile)
    this.port = Number(new RegExp(`[ =,]${this.transport}://127\\.0\\.0\\.1:(\\d+)`).exec(this.node.output)?.[1])
    if (Number.isNaN(this.port)) throw new Error(`no ${this.transport} address in: ${this.node.output}`)
  }

  get url(): string {
    return `${this.transport}://127.0.0.1:${this.port}`
  }

  stop(): Promise<unknown> {
    return this.node.kill()
  }

  /** A fresh connection on which nothing has been said. */
  async open(): Promise<RawClient> {
    return new RawClient(await this.connect())
  }

  /** Connects and waits for CONNACK 0; @returns the client and whether its session was there. */
  async session(clientId: string, clean: boolean): Promise<{ client: RawClient; present: boolean }> {
    const client = await this.open()
    client.write(connectPacket({ clientId, clean }))
    const connack = await client.next()
    if (connack?.first !== 0x20 || connack.body[1] !== 0) throw new Error('CONNACK does not accept')
    return { client, present: connack.body[0] === 1 }
  }

  /** The same with a session that ends with its connection. */
  async connected(clientId = 'raw'): Promise<RawClient> {
    return (await this.session(clientId, true)).client
  }

  /** The retained messages of a topic and of all below it, as a new subscriber at QoS 2 is sent them. */
  async retainedOf(topic: string): Promise<ReturnType<typeof publishOf>[]> {
    // The last of them in the order of topics: retained messages come at their own pace.
    const last = `${topic}/\u{10fffd}`
    const client = await this.connected('reader of retained')
    client.write(publishPacket(last, 'last', { qos: 1, id: 1, retain: true }))
    await client.next()
    client.write(subscribePacket(2, [`${topic}/#`, 2]))
    await client.next()
    const messages = []
    for (;;) {
      const message = await client.nextPublish()
      if (message.topic === last) break
      messages.push(message)
    }
    client.socket.destroy()
    return messages
  }

  private connect(): Promise<Duplex> {
    const { port, ca, transport } = this
    const host = '127.0.0.1'
    if (transport === 'mqtt') return onceOpen(connectTcp({ port, host, noDelay: true }), 'connect')
    if (transport === 'mqtts') return onceOpen(connectTls({ port, host, ca }), 'secureConnect')
    const webSocket = new WebSocket(this.url, 'mqtt', { ca })
    return new Promise((resolve, reject) => {
      webSocket.once('error', reject).once('open', () => {
        const stream = createWebSocketStream(webSocket)
        // Unlike a socket it stays half open when the other side has closed.
        resolve(stream.once('end', () => stream.destroy()))
      })
    })
  }
}

function isSecure(transport: Transport): boolean {
  return transport === 'mqtts' || transport === 'wss'
}

function onceOpen(socket: Duplex, event: string): Promise<Duplex> {
  return new Promise((resolve, reject) => {
    socket.once(event, () => resolve(socket)).once('error', reject)
  })
}

type AddTest = (name: string, handler: () => unknown) => void

/** Declares the same tests for each transport, each against a node of its own. Over others than TCP their names say so. */
export function servedOver(transports: readonly Transport[], declare: (test: AddTest, server: Served) => void): void {
  for (const transport of transports) {
    const tests: Test = suite()
    const missing = isSecure(transport) ? opensslMissing : null
    const server = new Served(transport)
    if (missing === null) {
      tests.before(() => server.start())
      tests.after(async () => {
        await server.stop()
      })
    }
    const add = unlessSkipped(tests, missing)
    declare((name, handler) => add(transport === 'mqtt' ? name : `${name}, over ${transport}`, handler), server)
    tests.run()
  }
}
