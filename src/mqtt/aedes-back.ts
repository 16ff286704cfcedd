// What is behind the gate: aedes answers CONNECT, takes a session over from an older connection with the same client identifier and knows when a will
// is due. It sees no other packet but DISCONNECT, never writes a PUBLISH, and stores nothing: its mq and persistence are empty, because
// the stock ones lose messages and let one frozen subscriber stop every topic. The only file that knows aedes.

import { Duplex } from 'node:stream'
import { Aedes, type Client } from 'aedes'
import { REFUSED_AT_LOGIN } from './close-reason.js'
import type { ConnectPacket } from './connect-packet.js'
import type { Gate } from './gate.js'

const HOUR_MS = 3_600_000

export interface AedesBackHost {
  /**
   * Checks the credentials and opens the session.
   * @returns the CONNACK return code: 0, or 2 to 5 for a refusal. A rejection means 3, server unavailable.
   */
  admit(gate: Gate, clientId: string): Promise<number>
  /** CONNACK goes out; @returns whether a session was there before [MQTT-3.2.2-2]. */
  isSessionPresent(gate: Gate): boolean
  /** CONNACK 0 has gone out. */
  admitted(gate: Gate): void
  /** CONNECT brought a will; resolves once it would survive a restart. */
  keepWill(gate: Gate): Promise<void>
  /** The connection ended without DISCONNECT. */
  publishWill(gate: Gate): void
}

export class AedesBack {
  private readonly connections = new Map<Gate, AedesConnection>()

  private constructor(
    private readonly host: AedesBackHost,
    private readonly broker: Aedes,
  ) {}

  static async start(host: AedesBackHost): Promise<AedesBack> {
    const refused = new Error('published by the front')
    const broker = await Aedes.createBroker({
      mq: emptyMq,
      persistence: persistenceFor(host),
      heartbeatInterval: HOUR_MS,
      connectTimeout: HOUR_MS,
      maxClientsIdLength: 65_535,
      drainTimeout: 0,
      preConnect: (client, packet, done) => {
        packet.clientId = (client.conn as AedesConnection).clientId
        done(null, true)
      },
      authenticate: (client, _username, _password, done) => {
        const { gate } = client.conn as AedesConnection
        host.admit(gate, client.id).then(
          (returnCode) => (returnCode === 0 ? done(null, true) : done(refusal(returnCode), null)),
          () => done(refusal(3), null),
        )
      },
      // Only wills pass here. The answer keeps aedes from publishing what the front has published already.
      authorizePublish: (client, _will, done) => {
        if (client !== null) host.publishWill((client.conn as AedesConnection).gate)
        done(refused)
      },
    })
    return new AedesBack(host, broker)
  }

  /** Hands a well-formed CONNECT over. @param clientId As in the packet, or made up where that is empty. */
  connect(gate: Gate, clientId: string, connect: ConnectPacket): void {
    const connection = new AedesConnection(this.host, gate, clientId)
    this.connections.set(gate, connection)
    this.broker.handle(connection)
    connection.push(connectFor(connect))
  }

  /** The client said DISCONNECT: aedes drops the will and closes the connection. */
  disconnect(gate: Gate): void {
    const connection = this.connections.get(gate)
    if (connection === undefined) return
    connection.saidGoodbye = true
    connection.push(DISCONNECT)
  }

  /** The socket is gone: aedes publishes the will, if one is due. */
  closed(gate: Gate): void {
    const connection = this.connections.get(gate)
    this.connections.delete(gate)
    // After a DISCONNECT aedes closes by itself; an end before it has read that packet would publish the will.
    if (connection !== undefined && !connection.saidGoodbye) connection.destroy()
  }

  stop(): Promise<void> {
    return new Promise((resolve) => this.broker.close(() => resolve()))
  }
}

const DISCONNECT = Buffer.from([0xe0, 0])

/**
 * A CONNECT that says to aedes what it has to know: whether the session outlives the connection, and that there is a will. The gate has judged
 * the client's own, and aedes is not asked for a second opinion: it would close without a word over what MQTT 3.1 disregards. Silence is watched
 * at the gate, so the keepalive is 0.
 */
function connectFor({ clean, will }: ConnectPacket): Buffer {
  const flags = (clean ? 0x02 : 0) | (will === null ? 0 : 0x04)
  const body = Buffer.from([0, 4, ...Buffer.from('MQTT'), 4, flags, 0, 0, ...CLIENT_ID, ...(will === null ? [] : WILL)])
  return Buffer.concat([Buffer.from([0x10, body.length]), body])
}

/** The real one takes its place in `preConnect`. */
const CLIENT_ID = [0, 1, 99]
/** Topic and message: the wills are kept elsewhere. */
const WILL = [0, 1, 119, 0, 0]

/** What aedes takes for the socket. */
class AedesConnection extends Duplex {
  saidGoodbye = false

  constructor(
    private readonly host: AedesBackHost,
    readonly gate: Gate,
    readonly clientId: string,
  ) {
    super({ allowHalfOpen: true })
  }

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.pass(chunk)
    done()
  }

  override _writev(chunks: { chunk: Buffer }[], done: () => void): void {
    this.pass(Buffer.concat(chunks.map(({ chunk }) => chunk)))
    done()
  }

  override _destroy(_error: Error | null, done: (error: Error | null) => void): void {
    this.gate.closeGently(REFUSED_AT_LOGIN)
    done(null)
  }

  /** CONNACK is all that aedes ever writes. Its session present flag is wrong for a session without subscriptions. */
  private pass(connack: Buffer): void {
    if (connack[0] !== 0x20 || connack.length !== 4) return
    const accepted = connack[3] === 0
    const bytes = Buffer.from([0x20, 2, accepted && this.host.isSessionPresent(this.gate) ? 1 : 0, connack[3]]) // [MQTT-3.2.2-4]
    this.gate.outbox.write(bytes)
    if (accepted) this.host.admitted(this.gate)
  }
}

function refusal(returnCode: number): Error & { returnCode: number } {
  return Object.assign(new Error(`refused with return code ${returnCode}`), { returnCode })
}

const emptyMq = {
  on(_topic: string, _listener: unknown, done?: () => void) {
    done?.()
  },
  removeListener(_topic: string, _listener: unknown, done?: () => void) {
    done?.()
  },
  emit(_packet: unknown, done?: () => void) {
    done?.()
  },
  close(done: () => void) {
    setImmediate(done)
  },
}

/** All that aedes asks of a persistence: nothing is found, wills are handed on. `setup` must be a native async function. */
function persistenceFor(host: AedesBackHost) {
  const nothing = async () => {}
  const none = async () => []
  return {
    async setup() {},
    cleanSubscriptions: nothing,
    subscriptionsByClient: none,
    subscriptionsByTopic: none,
    addSubscriptions: nothing,
    removeSubscriptions: nothing,
    outgoingEnqueueCombi: nothing,
    cleanIncoming: nothing,
    storeRetained: nothing,
    outgoingStream: async function* () {},
    streamWill: async function* () {},
    async putWill(client: Client) {
      const { gate } = client.conn as AedesConnection
      await host.keepWill(gate)
      // aedes would go on to list a client that has gone meanwhile, for good.
      if (gate.state === 'closed') await new Promise(() => {})
    },
    // By client identifier alone aedes would delete the will of the connection that has taken over.
    delWill: nothing,
  }
}
