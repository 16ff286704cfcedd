import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { exampleToml } from '../../src/config/example.js'
import { loadConfig, loadValidConfig } from '../../src/config/load.js'

const example = exampleToml()

test('the example as it stands is the default configuration', () => {
  assert.equal(loadConfig({ text: example }), loadConfig({}))
})

test('put in force as a whole, it is valid and shows the true defaults', () => {
  const lines = example.split('\n').filter((line) => !line.startsWith('##') && !/= …/.test(line))
  const config = loadValidConfig({ text: lines.map((line) => line.replace(/^# /, '')).join('\n') })
  const defaults = loadValidConfig({})
  const without = { stream: [], upstream: [], queue: [], firmware: [] }
  assert.equal({ ...config, ...without }, { ...defaults, ...without })
  assert.equal(config.stream[0], { ...defaults.stream[0], name: 'telemetry', topics: ['sensors/#'] })
  assert.equal(config.firmware, [
    {
      name: 'bus',
      type: 'serial',
      ports: ['/dev/ttyUSB0'],
      listen: [],
      baudRate: 115_200,
      topicPrefix: 'devices/{device}/',
      device: [{ id: 'pump-7', key: undefined, topicPrefix: undefined, topics: ['#'] }],
      keyFile: undefined,
      authentication: false,
      maxInFlight: 8,
      maxFrameSize: 1024,
      predefinedTopics: [],
      gatewayId: 1,
      multicast: undefined,
      advertiseInterval: 900_000,
      retryInterval: 10_000,
      maxRetries: 5,
      maxTopicIds: 200,
      maxClients: 1000,
      maxClientsPerAddress: 250,
      maxPacketRate: 5000,
      maxPacketRatePerAddress: 1000,
      maxByteRatePerAddress: 262_144,
    },
  ])
  assert.is(config.upstream[0].url, 'mqtts://broker.example:8883')
})

test('no line is wider than a terminal of 120 columns', () => {
  for (const line of example.split('\n')) assert.ok(line.length <= 120, line)
})

test.run()
