import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { DeviceTable } from '../../firmware-bridge/devices/device-table.js'
import { devicesOf } from '../../firmware-bridge/devices/line-options.js'
import { SluiceError } from '../../src/index.js'
import { tempDir } from '../helpers/temp-dir.js'

const KEY = '00112233445566778899aabbccddeeff'

function keyFile(text: string): string {
  const path = join(tempDir(), 'keys')
  writeFileSync(path, text)
  return path
}

function device(id: string, key?: string) {
  return { id, key, topicPrefix: undefined, topics: ['#'] }
}

test('without a list anybody may speak, under its own branch of topics', async () => {
  const devices = await devicesOf({ device: [], keyFile: undefined })
  const table = new DeviceTable({ topicPrefix: 'd/{device}/', authenticated: false, devices })
  assert.equal(table.find('pump'), { id: 'pump', key: null, topicPrefix: 'd/pump/', topics: ['#'] })
  for (const id of ['', 'a/b', '+', '#', 'x'.repeat(65), 'a\u0000', 'a\nb']) assert.is(table.find(id), null, id)
})

test('keys come from the configuration and from a file, and who has none is nobody where they are asked for', async () => {
  const file = keyFile(`# who has what\n\npump:${KEY}\na:b:${KEY.replaceAll('0', '1')}\n`)
  const devices = await devicesOf({ device: [device('pump'), device('fan', KEY), device('tap')], keyFile: file })
  const table = new DeviceTable({ topicPrefix: '', authenticated: true, devices })
  assert.equal(table.find('pump')?.key, Buffer.from(KEY, 'hex'))
  assert.equal(table.find('fan')?.key, Buffer.from(KEY, 'hex'))
  assert.is(table.find('a:b')?.key?.length, 16)
  assert.is(table.find('tap'), null)
  assert.is(table.find('other'), null)
})

test('a key file that is not of its form is refused by its line, without the key in the message', async () => {
  for (const [text, where] of [
    [`pump:${KEY}\npump:${KEY}\n`, ':2 names "pump" again'],
    [`:${KEY}`, ':1 is not of the form'],
    ['pump', ':1 is not of the form'],
    [`pump:${KEY.slice(2)}`, ':1) is not 16 to 64 bytes'],
    [`pump:${KEY}zz`, ':1) is not 16 to 64 bytes'],
  ]) {
    try {
      await devicesOf({ device: [], keyFile: keyFile(text) })
      assert.unreachable(text)
    } catch (error) {
      assert.ok(error instanceof SluiceError && error.code === 'INVALID_CONFIG', String(error))
      assert.ok(error.message.includes(where), error.message)
      assert.not.match(error.message, KEY.slice(2, 20))
    }
  }
})

test.run()
