// test-run: limit 120 s
// Tokens as an operator meets them: a real node, the commands, and what each may do.

import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { requestJson } from '../helpers/http.js'
import { findProgram } from '../helpers/mosquitto.js'
import { NodeProcess, runSluice } from '../helpers/node-process.js'
import { unlessSkipped } from '../helpers/skip.js'
import { tempDir } from '../helpers/temp-dir.js'

const withOpenssl = unlessSkipped(test, findProgram('openssl') === null ? 'openssl is not installed' : null)

test('the first token closes the door, scopes decide, and a revoked token is refused', async () => {
  const node = await NodeProcess.start()
  const at = ['--url', node.httpUrl]
  const made = await runSluice(['tokens', 'create', 'ops', '--scope', 'admin', ...at])
  assert.is(made.code, 0, made.stderr)
  assert.match(made.stdout, /^slc_[0-9a-f]{12}_[\w-]{43}\n$/)
  const admin = made.stdout.trim()
  const shut = await runSluice(['streams', ...at])
  assert.is(shut.code, 1)
  assert.match(shut.stderr, /asks for a token/)
  assert.is((await requestJson(`${node.httpUrl}/healthz`)).status, 200)

  const reader = await runSluice(['tokens', 'create', 'reporting', '-s', 'read', ...at, '--token', admin])
  const token = reader.stdout.trim()
  assert.is((await runSluice(['streams', ...at], { env: { SLUICE_TOKEN: token } })).code, 0)
  const denied = await runSluice(['produce', '--topic', 'a', '-m', 'x', ...at, '--token', token])
  assert.is(denied.code, 1)
  assert.match(denied.stderr, /reporting may read, and this takes the scope write/)
  const listed = await runSluice(['tokens', ...at, '--token', admin])
  assert.match(listed.stdout, /^ops +admin .*\nreporting +read /m)
  assert.not.match(listed.stdout, /slc_/)

  await node.kill('SIGKILL')
  await node.startAgain()
  assert.is((await runSluice(['streams', ...at, '--token', token])).code, 0, 'tokens survive SIGKILL')
  assert.is((await runSluice(['tokens', 'revoke', 'reporting', ...at, '--token', admin])).code, 0)
  const revoked = await runSluice(['streams', ...at, '--token', token])
  assert.match(revoked.stderr, /not known/)
  await node.kill()
})

test('in the open, without TLS, a node starts only once it has a token, which is made in its folder', async () => {
  const dataDir = join(tempDir(), 'data')
  const env = { SLUICE_MQTT_LISTEN: '127.0.0.1:0', SLUICE_HTTP_LISTEN: '0.0.0.0:0' }
  const refused = await runSluice(['serve', '--data', dataDir], { env })
  assert.is(refused.code, 1)
  assert.match(refused.stderr, /there is no token yet: make one first \(sluice tokens create/)

  const made = await runSluice(['tokens', 'create', 'ops', '--scope', 'admin', '--data', dataDir])
  assert.is(made.code, 0, made.stderr)
  const node = await NodeProcess.start({ dataDir, env })
  const busy = await runSluice(['tokens', '--data', dataDir])
  assert.is(busy.code, 1)
  assert.match(busy.stderr, /a node runs on/)
  const headers = { authorization: `Bearer ${made.stdout.trim()}` }
  assert.is((await fetch(`${node.httpUrl}/v1/streams`, { headers })).status, 200)
  assert.is((await fetch(`${node.httpUrl}/v1/streams`)).status, 401)
  await node.kill()
})

withOpenssl('https:// serves with the configured certificate, and plain requests get nowhere', async () => {
  const folder = tempDir()
  const request = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2']
  const name = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=IP:127.0.0.1']
  execFileSync('openssl', [...request, ...name, '-keyout', 'key.pem', '-out', 'cert.pem'], {
    cwd: folder,
    stdio: 'pipe',
  })
  const node = await NodeProcess.start({
    config: `[http]\ncert_file = "${folder}/cert.pem"\nkey_file = "${folder}/key.pem"`,
    env: { SLUICE_HTTP_LISTEN: 'https://127.0.0.1:0' },
  })
  const url = `https://127.0.0.1:${node.httpPort}`
  assert.match(node.output, new RegExp(`http=${url} `))
  const trusted = await runSluice(['streams', '--url', url], { env: { NODE_EXTRA_CA_CERTS: join(folder, 'cert.pem') } })
  assert.is(trusted.code, 0, trusted.stderr)
  assert.is((await runSluice(['streams', '--url', url])).code, 1, 'an unknown certificate is not trusted')
  await fetch(`http://127.0.0.1:${node.httpPort}/healthz`).then(
    () => assert.unreachable('plain HTTP was answered'),
    () => {},
  )
  await node.kill()
})

test.run()
