import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { SluiceError } from '../../src/base/errors.js'
import { MAX_CONFIG_BYTES } from '../../src/config/files.js'
import { loadConfig, loadValidConfig } from '../../src/config/load.js'
import { configOf, folder, loadText, problemsOf } from './config-helper.js'

// The example of the design page, whole.
const CONTRACT = `
data_dir = "/var/lib/sluice"
node_id = "gw-17"                       # default: generated once, kept in the data directory

[mqtt]
listen = ["127.0.0.1:1883"]
password_file = "passwd"                # mosquitto's format, unchanged
acl_file = "acl"                        # mosquitto's format, unchanged
max_packet_size = "256KB"

[http]
listen = "127.0.0.1:7883"

[[stream]]
name = "telemetry"
topics = ["sensors/#"]                  # first stream whose filter matches takes the message
partitions = 4                          # default 1
key = "topic"                           # or "client", or "level:2": what decides the partition
retention = { max_bytes = "2GB", max_age = "7d", on_full = "drop_oldest" }     # or "reject"
linger_ms = 0                           # gather longer, write less

[[upstream]]
name = "cloud"
type = "mqtt"
url = "mqtts://broker.example:8883"
streams = ["telemetry"]
topic = "plant7/{topic}"
max_in_flight = 100
bandwidth = "50KB/s"
`

test('without a file everything has its default: MQTT and HTTP on loopback, one stream that takes all', () => {
  const { config, problems } = loadConfig({})
  assert.equal(problems, [])
  assert.ok(config)
  assert.is(config.dataDir, resolve('data'))
  assert.equal(config.mqtt.listen, [{ protocol: 'mqtt', host: '127.0.0.1', port: 1883 }])
  assert.equal(config.http.listen, [{ protocol: 'http', host: '127.0.0.1', port: 7883 }])
  assert.equal(
    config.stream.map(({ name, topics }) => ({ name, topics })),
    [
      { name: 'mqtt', topics: ['#'] },
      { name: 'unrouted', topics: [] },
    ],
  )
  assert.is(config.stream[0].retention.maxBytes, 1024 ** 3)
  assert.equal(config.stream[1].retention, { maxBytes: 64 * 1024 ** 2, maxAge: undefined, onFull: 'drop_oldest' })
  assert.equal(config.upstream, [])
})

test('every key of the contract is read, with its unit resolved and its path absolute', () => {
  for (const name of ['passwd', 'acl']) writeFileSync(join(folder, name), '')
  const config = configOf(CONTRACT)
  assert.is(config.dataDir, '/var/lib/sluice')
  assert.is(config.nodeId, 'gw-17')
  assert.is(config.mqtt.passwordFile, join(folder, 'passwd'))
  assert.is(config.mqtt.maxPacketSize, 262_144)
  assert.equal(config.stream[0], {
    name: 'telemetry',
    topics: ['sensors/#'],
    partitions: 4,
    key: 'topic',
    retention: { maxBytes: 2 * 1024 ** 3, maxAge: 604_800_000, onFull: 'drop_oldest' },
    compression: 'none',
    lingerMs: 0,
  })
  const [cloud] = config.upstream
  assert.is(cloud.url, 'mqtts://broker.example:8883')
  assert.equal(cloud.streams, ['telemetry'])
  assert.is(cloud.maxInFlight, 100)
  assert.is(cloud.bandwidth, 51_200)
})

test('a queue brings a stream for its dead letters, unless one has that name', () => {
  const queue = (more: string) => `[[queue]]\nname = "q"\nstream = "mqtt"\n${more}`
  const made = configOf(queue(''))
  assert.is(made.queue[0].deadLetter, 'mqtt-dead')
  assert.equal(
    made.stream.map(({ name, topics }) => [name, topics]),
    [
      ['mqtt', ['#']],
      ['mqtt-dead', []],
      ['unrouted', []],
    ],
  )
  const stream = '[[stream]]\nname = "mqtt"\ntopics = ["#"]\n[[stream]]\nname = "bad"\ntopics = ["bad/#"]\n'
  assert.equal(
    configOf(stream + queue('dead_letter = "bad"')).stream.map(({ name }) => name),
    ['mqtt', 'bad', 'unrouted'],
  )
})

test('an upstream without streams takes every configured stream, but not the unrouted', () => {
  const config = configOf(`
    stream = [{ name = "a", topics = ["a/#"] }, { name = "b", topics = ["b/#"] }]
    upstream = [{ name = "cloud", type = "mqtt", url = "mqtt://broker.example" }]`)
  assert.equal(config.upstream[0].streams, ['a', 'b'])
  assert.is(config.upstream[0].topic, '{topic}')
})

test('where mirrors are republished there is a stream for it, which no upstream takes unasked', () => {
  const config = configOf(`
    mirrors = { republish = ["*.telemetry"] }
    upstream = [{ name = "cloud", type = "mqtt", url = "mqtt://broker.example" }]`)
  assert.equal(
    config.stream.map(({ name }) => name),
    ['mqtt', 'upstream-dead', 'republished', 'unrouted'],
  )
  assert.equal(config.upstream[0].streams, ['mqtt'])
  assert.is(config.mirrors.republishTopic, '{topic}')
})

test('an upstream may ask for the unrouted by name', () => {
  const config = configOf(`
    [[upstream]]
    name = "cloud"
    type = "mqtt"
    url = "mqtt://broker.example"
    streams = ["mqtt", "unrouted"]`)
  assert.equal(config.upstream[0].streams, ['mqtt', 'unrouted'])
})

test('the first line of password_file is the password', () => {
  writeFileSync(join(folder, 'secret'), 's3cret \r\nnot this\n')
  const config = configOf(`
    [[upstream]]
    name = "cloud"
    type = "mqtt"
    url = "mqtt://broker.example"
    username = "gw"
    password_file = "secret"`)
  assert.is(config.upstream[0].password, 's3cret ')
})

test('paths count from the folder of the file; from the environment and the command line, from the working directory', () => {
  const text = 'data_dir = "store"'
  assert.is(configOf(text).dataDir, join(folder, 'store'))
  assert.is(configOf(text, { SLUICE_DATA_DIR: 'store' }).dataDir, resolve('store'))
  const file = join(folder, 'sluice.toml')
  assert.is(
    loadConfig({ file, dataDir: 'flag', environment: { SLUICE_DATA_DIR: 'env' } }).config?.dataDir,
    resolve('flag'),
  )
  assert.is(configOf('').dataDir, resolve('data'))
})

test('a file with a byte order mark and Windows line ends is read', () => {
  assert.is(configOf('\ufeffnode_id = "gw"\r\n[mqtt]\r\nmax_connections = 7\r\n').mqtt.maxConnections, 7)
})

test('listening on every address, on IPv6 and on a port of the system’s choice is understood', () => {
  writeFileSync(join(folder, 'passwd'), '')
  const config = configOf('[mqtt]\npassword_file = "passwd"\nlisten = ["*:1883", "[::1]:1884", "mqtt://localhost:0"]')
  assert.equal(config.mqtt.listen, [
    { protocol: 'mqtt', host: '::', port: 1883 },
    { protocol: 'mqtt', host: '::1', port: 1884 },
    { protocol: 'mqtt', host: 'localhost', port: 0 },
  ])
})

test('a file that is missing, a folder, too large or not text is a problem that names it', () => {
  const problemOf = (file: string): string => loadConfig({ file }).problems[0].what
  assert.match(problemOf(join(folder, 'missing.toml')), /missing\.toml does not exist/)
  assert.match(problemOf(folder), /is a folder/)
  const large = join(folder, 'large.toml')
  writeFileSync(large, '#'.repeat(MAX_CONFIG_BYTES + 1))
  assert.match(problemOf(large), /bytes, more than/)
  writeFileSync(large, '#'.repeat(MAX_CONFIG_BYTES))
  assert.equal(loadConfig({ file: large }).problems, [])
  const binary = join(folder, 'binary.toml')
  writeFileSync(binary, Buffer.from([0x61, 0xff, 0xfe]))
  assert.match(problemOf(binary), /not UTF-8/)
})

test('loading for a program throws one error that holds every problem', () => {
  try {
    loadValidConfig({ text: 'a = 1\nb = 2' })
    assert.unreachable()
  } catch (error) {
    assert.instance(error, SluiceError)
    assert.is((error as SluiceError).code, 'INVALID_CONFIG')
    assert.match((error as SluiceError).message, /a is not a known key[\s\S]*\n.*b is not a known key/)
  }
})

test('a warning does not keep a configuration from being used', () => {
  const { config, problems } = loadText(`
    stream = [{ name = "all", topics = ["#"] }, { name = "never", topics = ["sensors/#"] }]`)
  assert.ok(config)
  assert.equal(
    problems.map(({ severity }) => severity),
    ['warning'],
  )
  assert.match(problemsOf('[storage]\ndisk_budget = "2MB"')[0], /warning: storage\.disk_budget/)
})

test('a data_dir that is a file, and a password_file that may not be read, are found before starting', () => {
  writeFileSync(join(folder, 'file'), '')
  assert.match(problemsOf('data_dir = "file"')[0], /data_dir names ".*", which is a file/)
  mkdirSync(join(folder, 'dir'), { recursive: true })
  assert.match(problemsOf('[mqtt]\npassword_file = "dir"')[0], /which is a folder/)
  if (process.getuid?.() === 0) return
  chmodSync(join(folder, 'file'), 0)
  assert.match(problemsOf('[mqtt]\npassword_file = "file"')[0], /may not read/)
})

test('MQTT-SN asks for keys beyond loopback, and not on it, unless told otherwise', () => {
  const air = (lines: string): boolean =>
    configOf(
      `[[firmware]]\nname = "air"\ntype = "mqtt-sn"\n${lines}\n[[firmware.device]]\nid = "d"\nkey = "${'0a'.repeat(16)}"\n`,
    ).firmware[0].authentication
  assert.is(air('listen = ["127.0.0.1:1885"]'), false)
  assert.is(air('listen = ["127.0.0.1:1885", "192.0.2.1:1885"]'), true)
  assert.is(air('listen = ["*:1885"]\nauthentication = false'), false)
  assert.is(air('listen = ["[::1]:1885"]\nauthentication = true'), true)
})

test('the reserve for a full disk is never less than a start takes there, unless there is to be none', () => {
  const ballastOf = (storage: string) => configOf(`[storage]\n${storage}`).storage.ballastSize / 1024 ** 2
  assert.is(ballastOf(''), 20)
  assert.is(ballastOf('ballast_size = "17MB"'), 17)
  assert.is(ballastOf('ballast_size = "1MB"'), 17)
  assert.is(ballastOf('segment_size = "64MB"'), 65)
  assert.is(ballastOf('ballast_size = "0B"'), 0)
})

test.run()
