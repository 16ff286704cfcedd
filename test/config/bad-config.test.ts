// Bad configurations, one a row: what is written, and what has to be said about it, all of it and nothing else.

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { folder, loadText, problemsOf } from './config-helper.js'

writeFileSync(join(folder, 'present'), 'secret\n')
writeFileSync(join(folder, 'blank'), '\n')
// Enough to pass for a certificate where it is not used.
writeFileSync(join(folder, 'pem'), '-----BEGIN CERTIFICATE-----\n')

const upstream = (lines: string): string =>
  `[[upstream]]\nname = "cloud"\ntype = "mqtt"\nurl = "mqtt://broker.example"\n${lines}`
const stream = (lines: string): string => `[[stream]]\nname = "s"\ntopics = ["s/#"]\n${lines}`

const air = (lines: string): string => `[[firmware]]\nname = "air"\ntype = "mqtt-sn"\n${lines}`

const ROWS: readonly (readonly [what: string, toml: string, ...said: RegExp[]])[] = [
  // half-written
  ['a list that is not closed', 'a = [1,\n2', /^sluice\.toml:2:\d+: is not TOML: .*; nothing after/],
  ['a header that is not closed', '[mqtt\nlisten = 1', /^sluice\.toml:1:6: is not TOML/],
  ['a text that is not closed', 'data_dir = "abc\nnode_id = "x"', /^sluice\.toml:1:\d+: is not TOML/],
  ['a value that is missing', '[mqtt]\nlisten =\n', /^sluice\.toml:2:\d+: is not TOML/],
  ['a key that is written twice', 'node_id = "a"\nnode_id = "b"', /^sluice\.toml:2:1: is not TOML/],
  // unknown
  ['a misspelt key', 'data_dri = "x"', /^sluice\.toml:1: data_dri is not a known key; did you mean data_dir\?$/],
  [
    'a key in the wrong table',
    'max_packet_size = "1KB"',
    /:1: max_packet_size is not a known key; max_packet_size belongs to \[mqtt\] or \[\[upstream\]\]$/,
  ],
  ['a key of no table', '[http]\n\nfrobnicate = 1', /^sluice\.toml:3: http\.frobnicate is not a known key; remove it$/],
  ['a misspelt table', '[mqttt]\nlisten = []', /:1: mqttt is not a known key; did you mean mqtt\?$/],
  [
    'a misspelt key in an inline table',
    stream('retention = { max_byte = "2GB" }'),
    /:4: stream\.s\.retention\.max_byte is not .*did you mean max_bytes\?/,
  ],
  [
    'a key named like a method of objects',
    'constructor = 1\ntoString = 2',
    /constructor is not a known key/,
    /toString is not a known key/,
  ],
  ['a key named __proto__', '__proto__ = { listen = 1 }', /__proto__ is not a known key/],
  // type
  ['a number for a text', 'data_dir = 7', /^sluice\.toml:1: data_dir is the number 7; write a text in quotes$/],
  [
    'a text for a number',
    '[mqtt]\nmax_connections = "many"',
    /:2: mqtt\.max_connections is the text "many"; write a whole number$/,
  ],
  ['a fraction for a whole number', '[mqtt]\nmax_connections = 1.5', /max_connections is the number 1\.5/],
  ['a date for a duration', upstream('keepalive = 1979-05-27'), /keepalive is a date, not a duration/],
  [
    'a bare number for a duration',
    upstream('keepalive = 60'),
    /keepalive is the number 60, not a duration with its unit; write "500ms"/,
  ],
  ['no size', '[mqtt]\nmax_packet_size = "12X"', /max_packet_size is "12X", which is not a size; write "64KB"/],
  [
    'bits for bytes',
    upstream('bandwidth = "50kbit/s"'),
    /bandwidth is "50kbit\/s", which is not a rate; write "50KB\/s" \(bytes/,
  ],
  ['a table for a list', '[mqtt.listen]\na = 1', /mqtt\.listen is a table; write a list/],
  ['a list for a table', 'mqtt = [1]', /mqtt is an array of tables; write \[mqtt\] with single brackets/],
  ['a text for a table', 'mqtt = "x"', /mqtt is the text "x"; make it a table: \[mqtt\]/],
  [
    'single brackets for an array',
    '[stream]\nname = "x"',
    /stream is a single table; write \[\[stream\]\] with double brackets/,
  ],
  ['an empty text', 'node_id = ""', /node_id is empty/],
  [
    'a number beyond what can be counted exactly',
    '[mqtt]\nmax_connections = 9007199254740993',
    /max_connections is the number 9007199254740993/,
  ],
  // range
  [
    'nothing at all for a limit',
    '[mqtt]\nmax_connections = 0',
    /max_connections is 0, below the least, 1; set it from 1 to 100000$/,
  ],
  ['too much for a limit', '[mqtt]\nmax_packet_size = "1GB"', /max_packet_size is "1GB", above the most, 16MB/],
  ['a negative number', stream('linger_ms = -1'), /stream\.s\.linger_ms is -1, below the least, 0/],
  ['too many partitions', stream('partitions = 257'), /partitions is 257, above the most, 256/],
  ['a word that is no choice', 'log_level = "loud"', /log_level is "loud"; write "debug", "info", "warn" or "error"/],
  ['a partition key that is none', stream('key = "level:0"'), /key is "level:0"; write "topic", "client" or "level:N"/],
  // names
  [
    'a name with a dot',
    '[[stream]]\nname = "a.b"\ntopics = ["#"]',
    /:2: stream\.a\.b\.name is "a\.b", which is not valid; use 1 to 64/,
  ],
  ['a name that is too long', `node_id = "${'x'.repeat(65)}"`, /node_id is "x+", which is not valid/],
  [
    'the name of the built-in stream',
    '[[stream]]\nname = "unrouted"\ntopics = ["#"]',
    /name is "unrouted", the name of a built-in stream/,
  ],
  [
    'the name of the stream for what is republished, where something is',
    '[mirrors]\nrepublish = ["*.t"]\n[[stream]]\nname = "republished"\ntopics = ["#"]',
    /name is "republished", the name of a built-in stream where mirrors\.republish is set/,
  ],
  [
    'a stream that does not exist, beside a downlink it could come back by',
    '[[upstream]]\nname = "c"\ntype = "mqtt"\nurl = "mqtt://b.example"\nstreams = ["nope"]\ndownlink = ["cmd/#"]',
    /streams names the stream "nope", which does not exist; there are mqtt, unrouted/,
  ],
  [
    'what is republished, forwarded',
    '[mirrors]\nrepublish = ["*.t"]\n[[upstream]]\nname = "c"\ntype = "mqtt"\nurl = "mqtt://b.example"\nstreams = ["republished"]',
    /streams names the stream "republished", which does not exist; there are mqtt, unrouted/,
  ],
  [
    'a stream of this node, republished',
    '[mirrors]\nrepublish = ["telemetry"]',
    /republish\S* is "telemetry", which is not valid; write "\*\.STREAM" or "ORIGIN\.STREAM"/,
  ],
  [
    'a topic that is the same for everything republished',
    '[mirrors]\nrepublish = ["*.t"]\nrepublish_topic = "all/{origin}"',
    /republish_topic is "all\/\{origin\}", which gives every message the same topic: add \{topic\}/,
  ],
  [
    'a placeholder that republish_topic has not',
    '[mirrors]\nrepublish = ["*.t"]\nrepublish_topic = "{node}/{topic}"',
    /republish_topic is .*, which names \{node\}; there are \{topic\}, \{origin\}, \{stream\}/,
  ],
  [
    'two streams of one name',
    `${stream('')}[[stream]]\nname = "S"\ntopics = ["t/#"]`,
    /:5: stream\.S\.name "S" is taken by an earlier \[\[stream\]\]/,
  ],
  [
    'two upstreams of one name',
    upstream('') + upstream(''),
    /:6: upstream\.cloud\.name "cloud" is taken by an earlier/,
  ],
  [
    'an entry without what it needs',
    '[[upstream]]\ntopic = "x"',
    /upstream\.0\.name is missing; add it/,
    /upstream\.0\.type is missing/,
    /upstream\.0\.url is missing/,
  ],
  ['a stream without topics', '[[stream]]\nname = "s"', /:1: stream\.s\.topics is missing/],
  [
    'a stream with an empty list of topics',
    '[[stream]]\nname = "s"\ntopics = []',
    /topics is an empty list; name at least one/,
  ],
  // topics
  [
    'a bad topic filter',
    '[[stream]]\nname = "s"\ntopics = ["a/#/b"]',
    /topics has the topic filter "a\/#\/b", which has # elsewhere than alone/,
  ],
  ['a filter given twice', '[[stream]]\nname = "s"\ntopics = ["a", "a"]', /topics names "a" twice/],
  [
    'a shared subscription as a filter',
    '[[stream]]\nname = "s"\ntopics = ["$share/g/a"]',
    /shared subscriptions do not route/,
  ],
  [
    'a filter in the shade of another stream',
    `[[stream]]\nname = "all"\ntopics = ["+/#"]\n${stream('')}`,
    /:6: warning: stream\.s\.topics has "s\/#", which never matches: stream "all"/,
  ],
  [
    'an unknown placeholder',
    upstream('topic = "a/{tpic}"'),
    /topic is "a\/\{tpic\}", which names \{tpic\}; there are \{topic\}, \{topic:url\}, \{stream\}, /,
  ],
  ['a brace that is not closed', upstream('topic = "a/{topic"'), /has a brace without its partner/],
  ['a wildcard where a topic is published', upstream('topic = "a/#/{topic}"'), /has a wildcard/],
  // upstreams
  [
    'an upstream of a stream that is not there',
    upstream('streams = ["telemetry"]'),
    /streams names the stream "telemetry", which does not exist; there are mqtt, unrouted/,
  ],
  [
    'a kind of upstream that is not built',
    '[[upstream]]\nname = "c"\ntype = "kafka"\nurl = "mqtt://x"',
    /type is "kafka", which is not available in this version; use "mqtt"/,
  ],
  [
    'a kind of upstream nobody knows',
    '[[upstream]]\nname = "c"\ntype = "carrier-pigeon"\nurl = "mqtt://x"',
    /type is "carrier-pigeon"; write "mqtt"/,
  ],
  [
    'an upstream that is no URL',
    '[[upstream]]\nname = "c"\ntype = "mqtt"\nurl = "broker:1883x"',
    /url is "broker:1883x"/,
  ],
  [
    'an upstream over http',
    '[[upstream]]\nname = "c"\ntype = "mqtt"\nurl = "http://broker"',
    /url is "http:\/\/broker"; write "mqtt:/,
  ],
  [
    'a password in a URL',
    '[[upstream]]\nname = "c"\ntype = "mqtt"\nurl = "mqtt://u:p@broker"',
    /url holds a password, which would show up in logs; use the keys username/,
  ],
  [
    'an upstream that is this node',
    '[[upstream]]\nname = "c"\ntype = "mqtt"\nurl = "mqtt://localhost"',
    /url is "mqtt:\/\/localhost", this node itself/,
  ],
  [
    'a downlink that would bring back what goes up',
    upstream('downlink = ["cmd/#"]'),
    /:5: upstream\.cloud\.downlink subscribes to "cmd\/#", where messages of stream "mqtt" arrive as "#": .*; put something in front/,
  ],
  [
    'a downlink whose wildcards do not fit',
    upstream('downlink = ["a/+ -> b"]'),
    /downlink has "a\/\+ -> b", which has other wildcards before the -> than after it/,
  ],
  [
    'dead letters of a node that refuses nothing',
    upstream('dead_letter = "x"').replace('"mqtt"', '"sluice"'),
    /dead_letter has no effect: a Sluice node refuses no message; remove it/,
  ],
  [
    'an envelope whose topic varies from message to message',
    upstream('envelope = "json"\ntopic = "up/{topic}"'),
    /:6: upstream\.cloud\.topic has \{topic\}, but an envelope holds messages of many topics; leave it out/,
  ],
  ['a part of an envelope that is not there', upstream('envelope_gzip = true'), /envelope_gzip has no effect without/],
  [
    'an envelope larger than a packet',
    upstream('envelope = "cbor"\nmax_packet_size = "10KB"'),
    /envelope_max_bytes \(64KB\) is more than max_packet_size \(10KB\); lower it/,
  ],
  [
    'AWS IoT without encryption and certificate, and faster than it takes',
    upstream(
      'preset = "aws-iot"\nmax_rate = 200\nkeepalive = "1h"\ntopic = "up/{topic}"\ndownlink = ["cmd/#", "1/2/3/4/5/6/7/8/#"]',
    ),
    /cert_file is missing: aws-iot knows a device by its certificate/,
    /url is not encrypted, and aws-iot takes nothing else; use mqtts/,
    /max_rate is more than aws-iot takes \(100\); lower it/,
    /keepalive is more than aws-iot takes \(1200s\)/,
    /downlink has "1\/2\/3\/4\/5\/6\/7\/8\/#", with more levels than aws-iot takes \(8\); make it shorter/,
  ],
  [
    'Azure IoT Hub with a topic and a subscription of its own',
    upstream('preset = "azure-iot-hub"\ntopic = "up/{topic}"\ndownlink = ["cmd/#"]').replace('mqtt://', 'mqtts://'),
    /client_id is missing: to azure-iot-hub it is the device id; add it/,
    /password_file is missing: azure-iot-hub wants a SAS token/,
    /topic is none that azure-iot-hub takes; begin it with "devices\/\{client_id\}\/messages\/events\/"/,
    /downlink has "cmd\/#", which azure-iot-hub does not offer/,
  ],
  [
    'a cloud preset for a node',
    upstream('preset = "aws-iot"\ncert_file = "pem"\nkey_file = "pem"')
      .replace('"mqtt"', '"sluice"')
      .replace('mqtt://', 'mqtts://'),
    /preset has no effect: a Sluice node has no such limits/,
    /key_file names/,
  ],
  ['a password without a user', upstream('password = "x"'), /username is missing beside a password/],
  [
    'two passwords',
    upstream('username = "u"\npassword = "x"\npassword_file = "present"'),
    /password stands beside password_file/,
  ],
  [
    'a password file with nothing in it',
    upstream('username = "u"\npassword_file = "blank"'),
    /password_file has an empty first line/,
  ],
  [
    'a certificate without its key',
    upstream('cert_file = "pem"').replace('mqtt://', 'mqtts://'),
    /cert_file needs its partner/,
  ],
  ['certificates without encryption', upstream('ca_file = "pem"'), /ca_file has no effect with mqtt:\/\//],
  [
    'delays the wrong way round',
    upstream('reconnect_min_ms = 5000\nreconnect_max_ms = 100'),
    /reconnect_min_ms is more than reconnect_max_ms/,
  ],
  // addresses
  [
    'an address without a port',
    '[mqtt]\nlisten = "127.0.0.1"',
    /listen has "127\.0\.0\.1", which is not an address; write "HOST:PORT"/,
  ],
  ['a port that is none', '[mqtt]\nlisten = "127.0.0.1:65536"', /which is not an address/],
  ['IPv6 without brackets', '[mqtt]\nlisten = "::1:1883"', /which is not an address/],
  [
    'MQTT for everyone without a password',
    '[mqtt]\nlisten = "0.0.0.0:1883"',
    /:2: mqtt\.listen has mqtt:\/\/0\.0\.0\.0:1883, open to others without a password; set mqtt\.password_file \(make the file with: sluice passwd/,
  ],
  [
    'HTTP for everyone',
    '[http]\nlisten = "*:7883"',
    /:2: warning: http\.listen has http:\/\/\[::\]:7883, open to others without TLS.*starts only once it has a token/,
  ],
  [
    'HTTPS without a certificate',
    '[http]\nlisten = "https://*:7883"',
    /http\.cert_file is missing, and https:\/\/ needs it/,
    /http\.key_file is missing/,
  ],
  [
    'a certificate that nobody is shown',
    '[http]\ncert_file = "pem"\nkey_file = "pem"',
    /http\.cert_file has no effect, since no address begins with https/,
    /http\.key_file has no effect/,
    /http\.key_file names .*, which holds no PRIVATE KEY/,
  ],
  [
    'MQTT over TLS without a certificate',
    '[mqtt]\nlisten = "mqtts://127.0.0.1:8883"',
    /mqtt\.cert_file is missing, and mqtts:\/\/ and wss:\/\/ need it/,
    /mqtt\.key_file is missing/,
  ],
  [
    'client certificates that nobody can judge',
    '[mqtt]\nrequire_client_cert = true',
    /mqtt\.ca_file is missing, and require_client_cert needs it/,
  ],
  [
    'revoked certificates of nobody',
    '[mqtt]\nlisten = "mqtts://127.0.0.1:8883"\ncert_file = "pem"\nkey_file = "pem"\ncrl_file = "pem"',
    /mqtt\.ca_file is missing, and crl_file needs it/,
    /mqtt\.key_file names .*, which holds no PRIVATE KEY in PEM/,
    /mqtt\.crl_file names .*, which holds no X509 CRL in PEM/,
  ],
  [
    'MQTT over WebSocket for everyone without a password, which client certificates are of no help to',
    '[mqtt]\nlisten = "ws://*:8080"',
    /has ws:\/\/\[::\]:8080, open to others without a password/,
  ],
  ['a switch that is a word', '[mqtt]\nrequire_client_cert = "yes"', /is the text "yes"; write true or false/],
  [
    'a listener of another kind',
    '[mqtt]\nlisten = "ftp://127.0.0.1:21"',
    /ftp:\/\/ is no protocol to listen with; use mqtt:/,
  ],
  [
    'one address for two listeners',
    '[http]\nlisten = "127.0.0.1:1883"',
    /http\.listen has http:\/\/127\.0\.0\.1:1883, which is taken by mqtt\.listen/,
  ],
  ['no listener at all', '[mqtt]\nlisten = []', /mqtt\.listen is an empty list/],
  [
    'a queue on a stream that is not there',
    '[[queue]]\nname = "q"\nstream = "s"',
    /:3: queue\.q\.stream names the stream "s", which does not exist; there are mqtt, unrouted/,
  ],
  [
    'dead letters that go round',
    '[[queue]]\nname = "q"\nstream = "mqtt"\ndead_letter = "mqtt"',
    /dead_letter is the stream of the queue itself/,
  ],
  // files, limits
  [
    'a file that is not there',
    '[mqtt]\npassword_file = "absent"\nlisten = "*:1883"',
    /:2: mqtt\.password_file names ".*\/absent", which does not exist; correct the path or create the file$/,
  ],
  [
    'a packet that does not fit',
    '[mqtt]\nmax_packet_size = "2MB"\nmax_pending_bytes = "1MB"',
    /max_packet_size \(2MB\) is more than mqtt\.max_pending_bytes \(1MB\) has room for/,
  ],
  [
    'a ballast smaller than a segment',
    '[storage]\nballast_size = "16MB"',
    /:2: warning: storage\.ballast_size \(16MB\) has no room for a segment \(16MB\), .*; 17MB are held; set it to 17MB or more, or lower/,
  ],
  [
    'segments larger than the ballast there is',
    '[storage]\nsegment_size = "64MB"',
    /ballast_size \(20MB\) has no room for a segment \(64MB\), .*; 65MB are held; set it to 65MB or more/,
  ],
  [
    'no ballast at all',
    '[storage]\nballast_size = "0B"',
    /:2: warning: storage\.ballast_size \(0B\) has no room for a segment \(16MB\): .* cannot start again .*; set it to 17MB or more/,
  ],
  // mqtt-sn
  [
    'an MQTT-SN gateway open to others without a key',
    air('listen = ["*:1885"]'),
    /air\.listen is open to others, and no device has a key; add a key_file.* or set authentication = false/,
  ],
  [
    'an MQTT-SN gateway whose devices have no key',
    air('listen = ["*:1885"]\n[[firmware.device]]\nid = "pump"'),
    /device\.0\.key is missing, and authentication needs it/,
  ],
  ['an MQTT-SN gateway that listens nowhere', air(''), /listen names none; name a UDP address/],
  ['ports of an MQTT-SN gateway', air('listen = ["[::1]:1885"]\nports = ["/dev/ttyS0"]'), /ports has no effect with/],
  [
    'a predefined topic without an id',
    air('listen = ["127.0.0.1:1885"]\npredefined_topics = ["temp"]'),
    /predefined_topics has "temp", which is not ID=TOPIC; write "1=temperature"/,
  ],
  [
    'two predefined topics with one id',
    air('listen = ["127.0.0.1:1885"]\npredefined_topics = ["1=a", "1=b"]'),
    /predefined_topics has 1 twice/,
  ],
  [
    'one UDP address for two gateways',
    `${air('listen = ["127.0.0.1:1885"]')}\n${air('listen = ["127.0.0.1:1885"]').replace('air', 'other')}`,
    /other\.listen has udp:\/\/127\.0\.0\.1:1885, which air has too/,
  ],
]

for (const [what, toml, ...said] of ROWS) {
  test(`${what} is reported, and nothing else`, () => {
    const problems = problemsOf(toml)
    const text = problems.join('\n')
    for (const [i, pattern] of said.entries()) assert.match(problems[i] ?? '', pattern)
    assert.is(problems.length, said.length, text)
    const failed = problems.some((problem) => !problem.includes(': warning: '))
    assert.is(loadText(toml).config === null, failed)
  })
}

test('all problems are told at once, in the order of the file', () => {
  const problems = problemsOf(`
data_dri = "x"
[mqtt]
listen = ["0.0.0.0:1883"]
max_packet_size = "12X"
[[stream]]
name = "s"
topics = ["a/#b"]
[[upstream]]
name = "cloud"
type = "kafka"
url = "x"
`)
  assert.equal(
    problems.map((problem) => /^sluice\.toml:(\d+)/.exec(problem)?.[1]),
    ['2', '4', '5', '8', '11', '12'],
  )
})

test('a hostile file ends in a problem, not in a crash', () => {
  for (const toml of [
    `a = ${'['.repeat(5000)}`,
    `${'a.'.repeat(5000)}b = 1`,
    `[${'x.'.repeat(2000)}y]`,
    '\0',
    '[[stream]]\n'.repeat(300),
  ])
    assert.ok(problemsOf(toml).length > 0)
})

test.run()
