import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { configOf, problemsOf } from './config-helper.js'

const STREAMS = `
[[stream]]
name = "telemetry"
topics = ["sensors/#"]
[[stream]]
name = "a-b"
topics = ["a/#"]
[[upstream]]
name = "cloud"
type = "mqtt"
url = "mqtt://one.example"
`

test('a variable wins over the file, for every kind of value', () => {
  const config = configOf(`node_id = "file"\n[mqtt]\nlisten = "127.0.0.1:1"\n${STREAMS}`, {
    SLUICE_NODE_ID: 'env',
    SLUICE_MQTT_LISTEN: '127.0.0.1:2, [::1]:3',
    SLUICE_MQTT_MAX_CONNECTIONS: '5',
    SLUICE_STORAGE_SEGMENT_SIZE: '8MB',
    SLUICE_STREAM_TELEMETRY_RETENTION_MAX_BYTES: '10MB',
    SLUICE_STREAM_A_B_TOPICS: 'a/+,b/#',
    SLUICE_UPSTREAM_CLOUD_URL: 'mqtt://two.example',
  })
  assert.is(config.nodeId, 'env')
  assert.equal(
    config.mqtt.listen.map(({ port }) => port),
    [2, 3],
  )
  assert.is(config.mqtt.maxConnections, 5)
  assert.is(config.storage.segmentSize, 8 * 1024 ** 2)
  assert.is(config.stream[0].retention.maxBytes, 10 * 1024 ** 2)
  assert.equal(config.stream[1].topics, ['a/+', 'b/#'])
  assert.is(config.upstream[0].url, 'mqtt://two.example')
})

test('a container needs no file: naming an entry adds it', () => {
  const config = configOf('', {
    SLUICE_UPSTREAM_MY_CLOUD_URL: 'mqtt://broker.example',
    SLUICE_UPSTREAM_MY_CLOUD_NAME: 'my-cloud',
    SLUICE_UPSTREAM_MY_CLOUD_TYPE: 'mqtt',
    SLUICE_STREAM_T_NAME: 't',
    SLUICE_STREAM_T_TOPICS: 't/#',
  })
  assert.equal(
    config.upstream.map(({ name, streams }) => ({ name, streams })),
    [{ name: 'my-cloud', streams: ['t'] }],
  )
  assert.equal(
    config.stream.map(({ name }) => name),
    ['t', 'upstream-dead', 'unrouted'],
  )
})

test('a variable for an entry that is not there names the nearest and says how to add one', () => {
  const [problem, ...others] = problemsOf(STREAMS, { SLUICE_UPSTREAM_CLOD_URL: 'mqtt://x' })
  assert.equal(others, [])
  assert.match(
    problem,
    /^SLUICE_UPSTREAM_CLOD_URL: belongs to no \[\[upstream\]\] there is; did you mean SLUICE_UPSTREAM_CLOUD_URL\?/,
  )
  assert.match(problem, /set SLUICE_UPSTREAM_CLOD_NAME=clod too$/)
})

test('a misspelt variable is an error that names the nearest', () => {
  assert.equal(problemsOf('', { SLUICE_MQTT_LISTNE: 'x' }), [
    'SLUICE_MQTT_LISTNE: is not a known variable; did you mean SLUICE_MQTT_LISTEN?',
  ])
  assert.match(problemsOf('', { SLUICE_MQTT_FROBNICATE: 'x' })[0], /is not a known variable/)
  assert.match(
    problemsOf(STREAMS, { SLUICE_UPSTREAM_CLOUD_QOS: '1' })[0],
    /SLUICE_UPSTREAM_CLOUD_QOS: is not a known variable/,
  )
})

test('a bad value is reported under the name of the variable', () => {
  assert.match(
    problemsOf('[mqtt]\nmax_connections = 5', { SLUICE_MQTT_MAX_CONNECTIONS: 'many' })[0],
    /^SLUICE_MQTT_MAX_CONNECTIONS: mqtt\.max_connections is the text "many"; write a whole number/,
  )
  assert.match(
    problemsOf('', { SLUICE_MQTT_LISTEN: '0.0.0.0:1883' })[0],
    /^SLUICE_MQTT_LISTEN: mqtt\.listen has mqtt:\/\/0\.0\.0\.0/,
  )
  assert.match(
    problemsOf(STREAMS, { SLUICE_STREAM_TELEMETRY_PARTITIONS: '0' })[0],
    /^SLUICE_STREAM_TELEMETRY_PARTITIONS: stream\.telemetry\.partitions is 0/,
  )
})

test('variables of the commands, of Kubernetes and of strangers do not keep a node from starting', () => {
  const others = {
    SLUICE_URL: 'http://x',
    SLUICE_TOKEN: 't',
    SLUICE_DEBUG: '1',
    SLUICE_CONFIG: 'x',
    SLUICE_SERVICE_HOST: '10.0.0.1',
    SLUICE_SERVICE_PORT_MQTT: '1883',
    SLUICE_PORT: 'tcp://10.0.0.1:1883',
    SLUICE_PORT_1883_TCP_ADDR: '10.0.0.1',
    NOT_OURS: 'x',
  }
  assert.equal(problemsOf('', others), [])
  assert.equal(problemsOf('', { SLUICE_XYZZY_PLUGH: '1' }), [
    'SLUICE_XYZZY_PLUGH: warning: is not a known variable; unset it',
  ])
})

test('an empty variable counts as not set', () => {
  assert.is(configOf('node_id = "gw"', { SLUICE_NODE_ID: '', SLUICE_MQTT_LISTEN: '' }).nodeId, 'gw')
})

test('two entries that share a variable are an error, not a guess', () => {
  const problems = problemsOf('stream = [{ name = "a-b", topics = ["a"] }, { name = "a_b", topics = ["b"] }]', {
    SLUICE_STREAM_A_B_PARTITIONS: '2',
  })
  assert.ok(problems.some((problem) => problem.startsWith('SLUICE_STREAM_A_B_PARTITIONS: fits more than one entry')))
})

test('a name from the environment that is not the one of its variable is refused', () => {
  assert.match(
    problemsOf('', { SLUICE_STREAM_T_NAME: 'other' })[0],
    /gives the name "other", which is not its own; set it to "t"/,
  )
})

test.run()
