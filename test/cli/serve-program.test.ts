// A node as a process: starting, refusing to start, stopping.

import { once } from 'node:events'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { join } from 'node:path'
import mqtt from 'mqtt'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { hashPassword, withUser } from '../../src/cli/password-file.js'
import { NodeProcess, runSluice } from '../helpers/node-process.js'
import { tempDir } from '../helpers/temp-dir.js'

const ANY_PORTS = { SLUICE_MQTT_LISTEN: '127.0.0.1:0', SLUICE_HTTP_LISTEN: '127.0.0.1:0' }

function refused(stderr: string, said: RegExp): void {
  assert.match(stderr, said)
  assert.not.match(stderr, /\n {4}at |unexpected error/)
}

test('SIGTERM stops a node in good order, with exit code 0 and one line on stdout', async () => {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    const node = await NodeProcess.start()
    assert.equal(await node.kill(signal), { code: 0, signal: null })
    assert.is(node.output.match(/^sluice ready /gm)?.length, 1)
    assert.match(node.output, /sluice stopped/)
  }
})

test('a taken port is named, with the way out, and nothing is left locked', async () => {
  const other = createServer()
  other.listen(0, '127.0.0.1')
  await once(other, 'listening')
  const address = `127.0.0.1:${(other.address() as AddressInfo).port}`
  const dataDir = join(tempDir(), 'data')
  for (const name of ['SLUICE_MQTT_LISTEN', 'SLUICE_HTTP_LISTEN']) {
    const { code, stdout, stderr } = await runSluice(['serve', '--data', dataDir], {
      env: { ...ANY_PORTS, [name]: address },
    })
    assert.is(code, 1)
    assert.is(stdout, '')
    refused(stderr, new RegExp(`^sluice serve: .*${address}.* taken`, 'm'))
  }
  other.close()
  const node = await NodeProcess.start({ dataDir })
  assert.is((await node.kill()).code, 0)
})

test('a data directory that another node holds is refused, and the other goes on', async () => {
  const node = await NodeProcess.start()
  const { code, stderr } = await runSluice(['serve', '--data', node.dataDir], { env: ANY_PORTS })
  assert.is(code, 1)
  refused(stderr, /^sluice serve: .*(lock|use|another)/m)
  assert.is((await fetch(`${node.httpUrl}/healthz`)).status, 200)
  assert.is((await node.kill()).code, 0)
})

test('a data directory of a newer format is refused and left as it is', async () => {
  const node = await NodeProcess.start()
  await node.kill()
  const marker = readdirSync(node.dataDir).find((name) => /format|version/i.test(name))
  assert.ok(marker, readdirSync(node.dataDir).join(', '))
  const path = join(node.dataDir, marker)
  const newer = readFileSync(path, 'utf8').replace(/\d+/, '999')
  writeFileSync(path, newer)
  const { code, stderr } = await runSluice(['serve', '--data', node.dataDir], { env: ANY_PORTS })
  assert.is(code, 1)
  refused(stderr, /999|newer/)
  assert.is(readFileSync(path, 'utf8'), newer)
})

test('with a password file only those in it are let in, by their password', async () => {
  const path = join(tempDir(), 'passwd')
  writeFileSync(path, withUser('', 'alice', hashPassword('secret')))
  const node = await NodeProcess.start({ env: { SLUICE_MQTT_PASSWORD_FILE: path } })
  const enters = async (login: mqtt.IClientOptions): Promise<boolean> => {
    try {
      await (await mqtt.connectAsync(node.mqttUrl, { ...login, reconnectPeriod: 0 }, false)).endAsync()
      return true
    } catch {
      return false
    }
  }
  assert.is(await enters({ username: 'alice', password: 'secret' }), true)
  assert.is(await enters({ username: 'alice', password: 'wrong' }), false)
  assert.is(await enters({ username: 'bob', password: 'secret' }), false)
  assert.is(await enters({}), false)
  await node.kill()
})

test.run()
