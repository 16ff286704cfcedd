import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { DeviceRegistry } from '../../firmware-bridge/devices/device-registry.js'
import { silentLogger } from '../../src/base/logger.js'
import { deviceMetrics } from '../../src/http/device-metrics.js'
import { HttpServer } from '../../src/http/http-server.js'
import { MetricsRegistry } from '../../src/http/metrics.js'
import { deviceRoutes } from '../../src/http/routes/devices.js'
import { type Ran, runCli } from './cli-helper.js'

const test = suite('sluice devices')
let devices: DeviceRegistry
let server: HttpServer
let run: (...args: string[]) => Promise<Ran>

test.before.each(async () => {
  devices = await DeviceRegistry.open({ wallMs: () => Date.UTC(2026, 0, 31, 12), logger: silentLogger })
  server = await HttpServer.start({ listen: ['127.0.0.1:0'], routes: deviceRoutes({ devices }), logger: silentLogger })
  run = (...args) => runCli(['devices', ...args, '--url', server.addresses[0]])
})
test.after.each(() => server.stop())

function populate(): void {
  const line = devices.line('bus', 'serial', '/dev/ttyUSB0')
  line.open = true
  line.receivedBytes = 1536
  line.damagedFrames = 3
  line.rejected.unknown_device = 2
  const pump = devices.device('bus', 'serial', 'pump-7', '/dev/ttyUSB0')
  pump.connected = true
  for (let i = 0; i < 1234; i++) pump.count('published')
  pump.count('gaps')
  pump.reject('topic_not_allowed')
  pump.report = { batteryPercent: 81, batteryMillivolts: 3290, signalDbm: -71 }
  devices.device('radio', 'mqtt-sn', 'tap', '10.0.0.7:40000')
}

test('says in words that there is nothing to see', async () => {
  assert.equal(await run(), { code: 0, stdout: '', stderr: 'No [[firmware]] line is configured.\n' })
  devices.line('bus', 'serial', '/dev/ttyUSB0')
  assert.is((await run()).stderr, 'No device has been heard of yet.\n')
})

test('shows devices, lines and what was rejected, in columns that line up', async () => {
  populate()
  const { code, stdout, stderr } = await run()
  assert.equal([code, stderr], [0, ''])
  assert.is(
    stdout,
    `
DEVICE  LINE   STATE      LAST SEEN             PUBLISHED  RESENDS  GAPS  CRC ERRORS  REJECTED  DELIVERED     BATTERY   SIGNAL
pump-7  bus    connected  2026-01-31 12:00:00Z      1,234        0     1           0         1          0  81% 3.29 V  -71 dBm
tap     radio  away       2026-01-31 12:00:00Z          0        0     0           0         0          0           -        -

LINE  KIND    ADDRESS       STATE  RECEIVED  SENT  DAMAGED  REJECTED  DROPPED ANSWERS
bus   serial  /dev/ttyUSB0  open     1.5 KB   0 B        3         2                0

FROM          REJECTED FOR    TIMES
/dev/ttyUSB0  unknown device      2
`.slice(1),
  )
})

test('shows one device and what it was refused, as a table and as JSON', async () => {
  populate()
  const { stdout } = await run('pump-7')
  assert.match(stdout, /^address +\/dev\/ttyUSB0$/m)
  assert.match(stdout, /^bus +topic not allowed +1$/m)
  const json = JSON.parse((await run('pump-7', '--json')).stdout)
  assert.equal([json.id, json.published, json.rejected], ['pump-7', 1234, { topic_not_allowed: 1 }])
  const unknown = await run('fan')
  assert.is(unknown.code, 1)
  assert.match(unknown.stderr, 'no device "fan" has been heard of')
})

test('metrics are summed by line', () => {
  populate()
  const text = new MetricsRegistry().register(...deviceMetrics(devices)).render()
  assert.match(text, 'sluice_firmware_published_messages_total{line="bus"} 1234\n')
  assert.match(text, 'sluice_firmware_connected_devices{line="radio"} 0\n')
  assert.match(text, 'sluice_firmware_damaged_frames_total{line="bus",address="/dev/ttyUSB0"} 3\n')
  assert.match(text, 'sluice_firmware_rejected_total{line="bus",reason="unknown_device"} 2\n')
})

test.run()
