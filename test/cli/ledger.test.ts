import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { fakeNode, runCli } from './cli-helper.js'

const ENTRY = {
  destination: 'cloud',
  stream: 'mqtt',
  partition: 0,
  first_offset: 100,
  last_offset: 1099,
  records: 1000,
  reason: 'retention',
  at_ms: 0,
}

test('each row of the ledger is shown, with what they sum up to', async () => {
  const node = await fakeNode(200, {
    entries: [ENTRY, { ...ENTRY, destination: '*', partition: 11 }],
    total_entries: 2,
    total_records: 2000,
  })
  const { code, stdout, stderr } = await runCli(['ledger', '--url', node.url, '--stream', 'mqtt'])
  assert.is(code, 0)
  assert.is(
    stdout,
    'DESTINATION  STREAM  PARTITION  FIRST  LAST  RECORDS  REASON     SINCE\n' +
      'cloud        mqtt            0    100  1099    1,000  retention  1970-01-01 00:00:00Z\n' +
      'everyone     mqtt           11    100  1099    1,000  retention  1970-01-01 00:00:00Z\n',
  )
  assert.is(stderr, '2,000 records in 2 rows.\n')
  assert.is(node.requests[0].url, '/v1/ledger?stream=mqtt')
  await node.close()
})

test('an empty ledger says that nothing was lost, with nothing on stdout', async () => {
  const node = await fakeNode(200, { entries: [], total_entries: 0, total_records: 0 })
  const { code, stdout, stderr } = await runCli(['ledger'], { env: { SLUICE_URL: node.url } })
  assert.equal({ code, stdout }, { code: 0, stdout: '' })
  assert.match(stderr, /nothing has been lost/)
  await node.close()
})

test('--json gives one object per line', async () => {
  const node = await fakeNode(200, { entries: [ENTRY, ENTRY], total_entries: 2, total_records: 2000 })
  const { stdout } = await runCli(['ledger', '--json', '--url', node.url])
  assert.equal(
    stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line)),
    [ENTRY, ENTRY],
  )
  await node.close()
})

test.run()
