import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { tempDir } from '../helpers/temp-dir.js'
import { runCli } from './cli-helper.js'

const folder = tempDir()
const fileWith = (text: string): string => {
  const file = join(folder, 'sluice.toml')
  writeFileSync(file, text)
  return file
}

test('a good configuration is 0, nothing on stdout, and a word about what it defines', async () => {
  const { code, stdout, stderr } = await runCli(['check', '--config', fileWith('')])
  assert.is(code, 0)
  assert.is(stdout, '')
  assert.match(stderr, /good\. Streams: mqtt, unrouted\. Upstreams: none\./)
})

test('a bad one is 1 with each problem on a line of stdout', async () => {
  const { code, stdout, stderr } = await runCli(['check', '--config', fileWith('a = 1\n[mqtt]\nlisten = 7\n')])
  assert.is(code, 1)
  assert.is(
    stdout,
    'sluice.toml:1: a is not a known key; remove it\nsluice.toml:3: mqtt.listen is the number 7; write a list: ["…", "…"]\n',
  )
  assert.match(stderr, /: 2 errors\.\n$/)
})

test('warnings alone are 0', async () => {
  const { code, stdout } = await runCli(['check', '--config', fileWith('[storage]\ndisk_budget = "2MB"')])
  assert.is(code, 0)
  assert.match(stdout, /warning: storage\.disk_budget/)
})

test('--json gives every problem as an object', async () => {
  const { stdout } = await runCli(['check', '--json', '--config', fileWith('[mqtt]\nmax_connections = 0')])
  const { ok, problems } = JSON.parse(stdout)
  assert.is(ok, false)
  assert.equal(Object.keys(problems[0]).sort(), ['fix', 'key', 'severity', 'what', 'where'])
  assert.is(problems[0].where, 'sluice.toml:2')
})

test('--schema prints the JSON Schema', async () => {
  const { code, stdout } = await runCli(['check', '--schema'])
  assert.is(code, 0)
  assert.is(JSON.parse(stdout).properties.mqtt.properties.listen.default[0], '127.0.0.1:1883')
})

test('the environment is checked along with the file', async () => {
  const env = { SLUICE_CONFIG: fileWith('node_id = "gw"'), SLUICE_HTTP_MAX_WAITNG: '1' }
  const { code, stdout } = await runCli(['check'], { env })
  assert.is(code, 1)
  assert.match(stdout, /^SLUICE_HTTP_MAX_WAITNG: is not a known variable; did you mean SLUICE_HTTP_MAX_WAITING\?$/m)
})

test('a file that is not there is said to be so', async () => {
  const { code, stdout } = await runCli(['check', '--config', join(folder, 'none.toml')])
  assert.is(code, 1)
  assert.match(stdout, /none\.toml does not exist; correct the path/)
})

test.run()
