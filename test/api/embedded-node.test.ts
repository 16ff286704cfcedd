import { request } from 'node:http'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Logger, loadValidConfig, SluiceError, startNode } from '../../src/index.js'
import { tempDir } from '../helpers/temp-dir.js'

const quiet = new Logger('test', 'error')
const TEXT = '[mqtt]\nlisten = ["127.0.0.1:0"]\n[http]\nlisten = ["127.0.0.1:0"]\n'

function statusOf(address: string, path: string): Promise<number | undefined> {
  const [host, port] = address.split(':')
  return new Promise((resolve, reject) => {
    request({ host, port, path }, (answer) => resolve(answer.resume().statusCode))
      .on('error', reject)
      .end()
  })
}

test('a program can run a node in itself, stop it, and run it again on the same data', async () => {
  const dataDir = tempDir()
  const ids: string[] = []
  for (let round = 0; round < 2; round++) {
    const node = await startNode(loadValidConfig({ text: TEXT, dataDir, environment: {} }), { logger: quiet })
    ids.push(node.nodeId)
    assert.is(await statusOf(node.httpAddresses[0], '/healthz'), 200)
    await node.stop()
    await node.stop()
  }
  assert.is(ids[0], ids[1])
})

test('a node that cannot start says why and leaves nothing open', async () => {
  const dataDir = tempDir()
  const config = loadValidConfig({ text: TEXT, dataDir, environment: {} })
  const first = await startNode(config, { logger: quiet })
  try {
    await startNode(config, { logger: quiet })
    assert.unreachable()
  } catch (error) {
    assert.ok(error instanceof SluiceError && error.code === 'DATA_DIR_LOCKED', String(error))
  }
  await first.stop()
  await (await startNode(config, { logger: quiet })).stop()
})

test.run()
