// test-run: limit 300 s
// The clients people have, over the listeners that need more than a socket: mosquitto_pub with a certificate, paho over TLS and WebSocket, all on one
// node, whose certificate is renewed meanwhile.

import { execFile, execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { connect as connectTls } from 'node:tls'
import { promisify } from 'node:util'
import mqtt from 'mqtt'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Authority, opensslMissing } from '../helpers/certificates.js'
import { findProgram } from '../helpers/mosquitto.js'
import { NodeProcess } from '../helpers/node-process.js'
import { unlessSkipped } from '../helpers/skip.js'
import { readStream } from '../helpers/stream-reader.js'

const run = promisify(execFile)
const python = ['python3', '/usr/bin/python3'].find((path) => {
  try {
    execFileSync(path, ['-c', 'import paho.mqtt.client'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
})
const missing =
  opensslMissing ??
  (findProgram('mosquitto_pub') === null ? 'mosquitto_pub is not installed' : null) ??
  (python === undefined ? 'python3-paho-mqtt is not installed' : null)

/** Publishes one message at QoS 1 and ends when it is acknowledged. */
const PAHO = `
import paho.mqtt.client as paho, ssl, sys
transport, port, ca, cert, key, topic = sys.argv[1:]
kwargs = {}
if hasattr(paho, 'CallbackAPIVersion'): kwargs['callback_api_version'] = paho.CallbackAPIVersion.VERSION1
client = paho.Client(client_id='paho', transport='websockets' if transport.startswith('ws') else 'tcp', **kwargs)
if transport in ('mqtts', 'wss'): client.tls_set(ca, cert, key)
client.on_connect = lambda c, u, f, rc: c.publish(topic, 'hello', 1) if rc == 0 else sys.exit('refused %d' % rc)
client.on_publish = lambda c, *rest: c.disconnect()
client.connect('127.0.0.1', int(port))
client.loop_forever(timeout=1)
`

unlessSkipped(test, missing)(
  '11-01 one node serves mqtt, mqtts with client certificates, ws and wss to mosquitto_pub, paho and mqtt.js; SIGHUP renews its certificate, and who is connected stays so',
  async () => {
    const authority = new Authority()
    const server = authority.issue('before', 'server')
    const device = authority.issue('device')
    const node = await NodeProcess.start({
      config: [
        '[mqtt]',
        `cert_file = "${server.certFile}"`,
        `key_file = "${server.keyFile}"`,
        `ca_file = "${authority.caFile}"`,
        'require_client_cert = true',
      ].join('\n'),
      env: {
        SLUICE_MQTT_LISTEN: '127.0.0.1:0,mqtts://127.0.0.1:0,ws://127.0.0.1:0,wss://127.0.0.1:0',
      },
    })
    const portOf = (protocol: string) =>
      Number(new RegExp(`[=,]${protocol}://127\\.0\\.0\\.1:(\\d+)`).exec(node.output)?.[1])
    const identity = ['--cafile', authority.caFile, '--cert', device.certFile, '--key', device.keyFile]
    const publish = (topic: string, ...more: string[]) =>
      run('mosquitto_pub', ['-p', String(portOf('mqtts')), '-t', topic, '-m', 'hello', '-q', '1', ...more], {
        timeout: 30_000,
      })
    const files = { ca: authority.caFile, cert: device.certFile, key: device.keyFile }
    const [ca, cert, key] = [files.ca, files.cert, files.key].map((file) => readFileSync(file))

    await publish('mosquitto/mqtts', ...identity)
    const refused = await publish('refused', '--cafile', authority.caFile).catch((error: Error) => error)
    assert.instance(refused, Error)
    for (const transport of ['mqtt', 'mqtts', 'ws', 'wss']) {
      const args = [transport, String(portOf(transport)), files.ca, files.cert, files.key, `paho/${transport}`]
      await run(python ?? '', ['-c', PAHO, ...args], { timeout: 60_000 })
    }
    const old = await mqtt.connectAsync(`wss://127.0.0.1:${portOf('wss')}`, { ca, cert, key, reconnectPeriod: 0 })
    await old.publishAsync('mqtt.js/wss', 'hello', { qos: 1 })

    const nameShown = () =>
      new Promise<string>((resolve, reject) => {
        const socket = connectTls({ port: portOf('mqtts'), host: '127.0.0.1', ca, cert, key }, () => {
          resolve(String(socket.getPeerCertificate().subject.CN))
          socket.destroy()
        }).on('error', reject)
      })
    assert.is(await nameShown(), 'before')
    authority.issue('after', 'server')
    process.kill(node.pid, 'SIGHUP')
    // Nothing tells a client that the certificate is another one.
    while ((await nameShown()) === 'before');
    assert.is(await nameShown(), 'after')
    await publish('mosquitto/renewed', ...identity)
    await old.publishAsync('mqtt.js/old', 'hello', { qos: 1 })

    assert.equal(
      (await readStream(node, 'mqtt')).map(({ mqttTopic }) => mqttTopic),
      [
        'mosquitto/mqtts',
        'paho/mqtt',
        'paho/mqtts',
        'paho/ws',
        'paho/wss',
        'mqtt.js/wss',
        'mosquitto/renewed',
        'mqtt.js/old',
      ],
    )
    old.end(true)
    await node.kill()
  },
)

test.run()
