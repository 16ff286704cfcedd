import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { createServer as createTlsServer } from 'node:tls'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { systemClock } from '../../../src/base/clock.js'
import { SluiceError } from '../../../src/base/errors.js'
import { attributesOf, type Offset, type PartitionId } from '../../../src/record/record.js'
import { encodeRecordBatch } from '../../../src/record/record-batch-builder.js'
import { MqttTarget, type MqttTargetOptions } from '../../../src/replication/targets/mqtt.js'
import { MiniBroker } from '../../helpers/mini-broker.js'
import { findProgram } from '../../helpers/mosquitto.js'
import { unlessSkipped } from '../../helpers/skip.js'
import { tempDir } from '../../helpers/temp-dir.js'
import { batchOf, targetContract } from './target-contract.js'

const keepAlive = setInterval(() => {}, 1000)
test.after(() => clearInterval(keepAlive))

const SOURCE = { stream: 'telemetry', partition: 0 as PartitionId }

function targetAt(url: string, more: Partial<MqttTargetOptions> = {}): MqttTarget {
  return new MqttTarget(
    {
      name: 'cloud',
      nodeId: 'gw-17',
      url,
      topic: '{topic}',
      clientId: 'sluice-gw-17-cloud',
      keepaliveSeconds: 60,
      connectTimeoutMs: 5_000,
      maxInFlight: 100,
      ...more,
    },
    systemClock,
  )
}

targetContract({
  test,
  name: 'mqtt',
  makeTarget: (port) => targetAt(`mqtt://127.0.0.1:${port}`),
  async startFarSide() {
    const broker = await MiniBroker.start()
    return {
      port: broker.port,
      received: () => broker.received.map(({ payload }) => payload.toString()),
      holdAcks: () => {
        broker.holdAcks = true
      },
      releaseAcks: () => broker.releaseAcks(),
      refuseLogins: () => {
        broker.connackCode = 5
      },
      goodbyes: () => broker.disconnects,
      until: (condition) => broker.until(condition),
      stop: () => broker.stop(),
    }
  },
})

/** Sends one batch and waits for all acknowledgements. @throws the reason, if the connection does not come to that. */
async function deliver(target: MqttTarget, batch: Buffer): Promise<void> {
  const shipments = await target.pack(SOURCE, [batch], 0 as Offset)
  return new Promise((resolve, reject) => {
    let acks = 0
    const link = target.connect({
      lanes: () => [],
      onPositions() {},
      onUp() {
        for (const [slot, shipment] of shipments.entries()) link.send(shipment, slot)
        link.flush()
      },
      onAck() {
        if (++acks === shipments.length) link.end()
      },
      onRoom() {},
      onDown: (reason) => (acks === shipments.length ? resolve() : reject(reason)),
    })
  })
}

async function withBroker(body: (broker: MiniBroker) => Promise<void>): Promise<void> {
  const broker = await MiniBroker.start()
  try {
    await body(broker)
  } finally {
    await broker.stop()
  }
}

test('records are published at QoS 1 under the mapped topic, with their retain flag and nothing else changed', () =>
  withBroker(async (broker) => {
    const record = (retain: boolean, value: Buffer | null, qos: 0 | 1 | 2) => ({
      timestampMs: 1,
      key: Buffer.from('sensors/1/größe'),
      value,
      valueStart: 0,
      valueEnd: value?.length ?? 0,
      headers: [],
      attributes: attributesOf(qos, retain),
    })
    const binary = Buffer.from([0, 255, 128, 10])
    const batch = encodeRecordBatch(0 as Offset, [
      record(false, binary, 1),
      record(true, Buffer.alloc(0), 0),
      record(true, null, 2),
    ])
    await deliver(targetAt(broker.url, { topic: 'plant7/{topic}' }), batch)
    assert.equal(
      broker.received.map(({ mqttTopic, payload, qos, retain, dup }) => [mqttTopic, [...payload], qos, retain, dup]),
      [
        ['plant7/sensors/1/größe', [...binary], 1, false, false],
        ['plant7/sensors/1/größe', [], 1, true, false],
        ['plant7/sensors/1/größe', [], 1, true, false],
      ],
    )
  }))

test('the login, the client id and the keepalive are sent as configured, with a clean session', () =>
  withBroker(async (broker) => {
    await deliver(targetAt(broker.url, { username: 'gw', password: 'geheim', keepaliveSeconds: 25 }), batchOf(0, ['a']))
    assert.equal(broker.connects, [
      { clientId: 'sluice-gw-17-cloud', username: 'gw', password: 'geheim', cleanSession: true, keepaliveSeconds: 25 },
    ])
  }))

test('a broker that accepts the connection and says nothing is given up after the connect time-out', () =>
  withBroker(async (broker) => {
    broker.connackCode = null
    const error = await deliver(targetAt(broker.url, { connectTimeoutMs: 100 }), batchOf(0, ['a'])).catch((e) => e)
    assert.match(error.message, /timeout/)
  }))

test('a refused login is told apart from a broker that is away', () =>
  withBroker(async (broker) => {
    broker.connackCode = 5
    const error = await deliver(targetAt(broker.url), batchOf(0, ['a'])).catch((e) => e)
    assert.instance(error, SluiceError)
    assert.is(error.code, 'UNAUTHORIZED')
    assert.match(error.message, /Not authorized/)
  }))

test('the password never shows in the address', () => {
  const target = targetAt('mqtt://gw:geheim@broker.example:1883')
  assert.is(target.url, 'mqtt://broker.example:1883')
})

test('addresses and TLS material that cannot work are refused at start, not at each connection', () => {
  const refused = (options: Partial<MqttTargetOptions>, message: RegExp): void =>
    assert.throws(
      () => targetAt(options.url ?? 'mqtts://127.0.0.1', options),
      (error: unknown) =>
        error instanceof SluiceError && error.code === 'INVALID_CONFIG' && message.test(error.message),
    )
  refused({ url: 'http://broker' }, /mqtt:\/\//)
  refused({ url: 'not a url' }, /mqtt:\/\//)
  refused({ tls: { cert: Buffer.from('no pem'), key: Buffer.from('no pem') } }, /TLS/)
  refused({ url: 'mqtt://broker', tls: { ca: Buffer.from('x') } }, /mqtts/)
})

const withOpenssl = unlessSkipped(test, findProgram('openssl') === null ? 'openssl is not installed' : null)

withOpenssl('over TLS the broker is checked against the given CA, and shown the client certificate', () =>
  withBroker(async (broker) => {
    const folder = tempDir()
    const file = (name: string): string => join(folder, name)
    const openssl = (...args: string[]): unknown => execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' })
    for (const name of ['server', 'client'])
      openssl(
        ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'],
        ...['-keyout', `${name}.key`, '-out', `${name}.pem`, '-subj', `/CN=${name}`],
        ...['-addext', 'subjectAltName=IP:127.0.0.1'],
      )
    const read = (name: string): Buffer => readFileSync(file(name))
    const clients: string[] = []
    const server = createTlsServer(
      { key: read('server.key'), cert: read('server.pem'), ca: read('client.pem'), requestCert: true },
      (socket) => {
        clients.push(socket.getPeerCertificate().subject.CN as string)
        socket.on('error', () => {})
        const plain = connect(broker.port, '127.0.0.1')
        plain.on('error', () => socket.destroy())
        socket.pipe(plain).pipe(socket)
      },
    )
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const address = server.address()
    const url = `mqtts://127.0.0.1:${typeof address === 'object' ? address?.port : 0}`
    try {
      const cert = read('client.pem')
      const key = read('client.key')
      await deliver(targetAt(url, { tls: { ca: read('server.pem'), cert, key } }), batchOf(0, ['secret']))
      assert.equal(clients, ['client'])
      assert.is(broker.received[0].payload.toString(), 'secret')
      const error = await deliver(targetAt(url, { tls: { cert, key } }), batchOf(0, ['secret'])).catch((e) => e)
      assert.match(error.message, /self.signed/)
      assert.is(broker.received.length, 1)
    } finally {
      server.close()
    }
  }),
)

test.run()
