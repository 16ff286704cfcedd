// `sluice queues` against a real node.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { NodeProcess } from '../helpers/node-process.js'
import { until } from '../helpers/until.js'
import { runCli } from './cli-helper.js'

const test = suite('queues')
let node: NodeProcess

const CONFIG = `[[stream]]
name = "mails"
topics = ["mail/#"]
[[queue]]
name = "senders"
stream = "mails"
max_attempts = 1
`

test.before(async () => {
  node = await NodeProcess.start({ config: CONFIG })
})
test.after(async () => {
  await node.kill('SIGKILL')
})

const sluice = (...args: string[]) => runCli([...args, '--url', node.httpUrl])
const queues = (args: string) => sluice('queues', ...args.split(' '))

/** @returns the receipt. */
async function receiveOne(args = ''): Promise<string> {
  const received = await queues(`mails senders receive --json --wait 60${args}`)
  assert.is(received.code, 0, received.stderr)
  return JSON.parse(received.stdout).receipt
}

test('a message is received, given up with a reason, redriven, acknowledged; every step is told', async () => {
  const none = await sluice('queues')
  assert.equal([none.code, none.stdout], [0, ''])
  assert.match(none.stderr, 'There are no work queues yet')
  const empty = await queues('mails senders receive')
  assert.equal([empty.code, empty.stdout, empty.stderr], [1, '', 'Nothing to be received.\n'])

  await sluice('produce', '-t', 'mail/1', '-m', 'hello')
  const shown = await queues('mails senders receive --lease 1')
  assert.match(shown.stdout, /^RECEIPT +ATTEMPT +TOPIC +PAYLOAD\n\S+ +1 +mail\/1 +hello\n$/)
  const stale = shown.stdout.split('\n')[1].split(' ')[0]

  // Its only attempt has run out with its lease: a dead letter, which redrive makes a message again.
  const redriven = async () => (await queues('mails senders redrive')).stderr
  const brought = await until('its time is over', redriven, (text) => text.includes('1 from mails-dead'))
  assert.is(brought, 'Brought back: 1 from mails-dead.\n')
  const given = await receiveOne()
  const refused = await queues(`mails senders ack ${stale}`)
  assert.is(refused.code, 1)
  assert.match(refused.stderr, 'Acknowledged: 0.')
  assert.match(refused.stderr, `Stale, somebody else has got the message or it is done: ${stale}`)

  const nacked = await sluice(
    'queues',
    'mails',
    'senders',
    'nack',
    given,
    '--dead-letter',
    '--reason',
    'no such address',
  )
  assert.equal([nacked.code, nacked.stderr], [0, 'Given back: 1.\n'])
  const dead = await sluice('consume', 'mails-dead', '--json')
  assert.match(dead.stdout, 'no such address')
  assert.is((await queues('mails senders redrive --json')).stdout, '{"redriven":1,"gone":0}\n')

  const receipt = await receiveOne()
  assert.is((await queues(`mails senders extend ${receipt} --lease 100`)).stderr, 'Extended: 1.\n')
  assert.match((await sluice('queues')).stdout, /\nmails +senders +0 +1 +0 +1 +mails-dead\n$/)
  assert.is((await queues(`mails senders ack ${receipt}`)).stderr, 'Acknowledged: 1.\n')
  assert.match((await queues('mails senders')).stdout, /\nmails +senders +0 +0 +0 +1 +mails-dead\n/)
})

test('a queue is deleted only with --execute', async () => {
  await queues('mails others receive')
  const shown = await queues('mails others delete')
  assert.equal([shown.code, shown.stdout], [0, ''])
  assert.match(shown.stderr, 'Would delete queue others of mails')
  assert.is((await queues('mails others')).code, 0)
  assert.is((await queues('mails others delete --execute')).code, 0)
  const gone = await queues('mails others')
  assert.is(gone.code, 1)
  assert.match(gone.stderr, 'stream mails has no work queue others: the first receive makes one')
})

test('mistakes are named with exit code 2 before the node is asked, and what the node refuses with 1', async () => {
  const misuse: readonly (readonly [string, RegExp])[] = [
    ['mails', /a queue is a stream and a group: sluice queues mails GROUP/],
    ['mails senders work', /unknown action "work": there are receive, ack, nack, extend, redrive, delete/],
    ['mails senders ack', /name the receipts/],
    ['mails senders extend 0-0-1', /say for how long: --lease SECONDS/],
    ['mails senders receive --count 1001', /--count takes a whole number from 1 to 1000/],
    ['mails senders receive --wait 61', /--wait takes a whole number from 0 to 60/],
    ['mails senders redrive now', /redrive takes no "now"/],
  ]
  for (const [args, words] of misuse) {
    const { code, stdout, stderr } = await runCli(['queues', ...args.split(' '), '--url', 'http://127.0.0.1:1'])
    assert.equal([args, code, stdout], [args, 2, ''])
    assert.match(stderr, words)
  }
  const unknown = await queues('elsewhere senders receive')
  assert.is(unknown.code, 1)
  assert.match(unknown.stderr, 'there is no stream elsewhere; there are: mails')
  assert.match((await queues('mails senders receive --order size')).stderr, 'order has to be "none" or "key"')
})

test.run()
