// test-run: limit 240 s
// The commands that publish and read, as processes, against a real node.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { getJson } from '../helpers/http.js'
import { NodeProcess, runSluice, startSluice } from '../helpers/node-process.js'

const test = suite('produce, consume, streams, groups')
let node: NodeProcess

test.before.each(async () => {
  node = await NodeProcess.start({
    config:
      '[[stream]]\nname = "mqtt"\ntopics = ["sensors/#", "log"]\n[[stream]]\nname = "wide"\ntopics = ["wide/#"]\npartitions = 3\n',
  })
})
test.after.each(async () => {
  await node.kill('SIGKILL')
})

const sluice = (args: string, input?: string) => runSluice([...args.split(' '), '--url', node.httpUrl], { input })
const start = (args: string) => startSluice([...args.split(' '), '--url', node.httpUrl])

async function groupHas(group: string, check: (group: { state: string; members: number; lag: number }) => boolean) {
  for (;;) {
    const { groups } = await getJson<{ groups: { group: string; state: string; members: number; lag: number }[] }>(
      `${node.httpUrl}/v1/groups`,
    )
    const found = groups.find((each) => each.group === group)
    if (found !== undefined && check(found)) return
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

test('what is produced is consumed, in order, with nothing added', async () => {
  const lines = Array.from({ length: 5_000 }, (_, i) => `${i}`)
  const produced = await sluice('produce -t log -l', `${lines.join('\n')}\n`)
  assert.equal([produced.code, produced.stdout], [0, ''])
  assert.match(produced.stderr, 'Published 5,000 messages to stream mqtt.')
  const consumed = await sluice('consume mqtt')
  assert.is(consumed.code, 0)
  assert.is(consumed.stdout, `${lines.join('\n')}\n`)
  assert.is(consumed.stderr, '')
})

test('a group goes on where it left off: the first call prints one message, the next waits for another', async () => {
  await sluice('produce -t sensors/1/temp -m 21.5')
  const first = await sluice('consume mqtt --group g --from earliest --count 1')
  assert.equal([first.code, first.stdout], [0, '21.5\n'])
  const second = start('consume mqtt --group g --from earliest --count 1')
  await groupHas('g', ({ members }) => members === 1)
  assert.is(second.stdout, '')
  await sluice('produce -t sensors/1/temp -m 22')
  assert.equal(await second.ended, { code: 0, signal: null })
  assert.is(second.stdout, '22\n')
})

test('what a group committed survives SIGKILL of the node, and a consumer that waits comes back with it', async () => {
  await sluice('produce -t log -l', 'a\nb\n')
  assert.is((await sluice('consume mqtt -g g -c 1')).stdout, 'a\n')
  const consumer = start('consume mqtt -g g -c 2')
  await consumer.waitFor(/b\n/, 'stdout')
  await groupHas('g', ({ lag }) => lag === 0)
  await node.kill('SIGKILL')
  await consumer.waitFor(/trying again/, 'stderr')
  await node.startAgain()
  await sluice('produce -t log -m c')
  assert.equal(await consumer.ended, { code: 0, signal: null })
  assert.is(consumer.stdout, 'b\nc\n')
})

test('an interrupted consumer leaves its group at once', async () => {
  const consumer = start('consume mqtt -g g')
  await sluice('produce -t log -m a')
  await consumer.waitFor(/a\n/, 'stdout')
  await groupHas('g', ({ lag }) => lag === 0)
  assert.equal(await consumer.stop('SIGINT'), { code: 0, signal: null })
  assert.is((await getJson<{ state: string }>(`${node.httpUrl}/v1/groups/g`)).state, 'Empty')
})

test('what nobody has read is not committed', async () => {
  const line = 'x'.repeat(1_000)
  await sluice('produce -t log -l', `${line}\n`.repeat(900))
  const consumer = start('consume mqtt -g g')
  consumer.closeStdout()
  assert.equal(await consumer.ended, { code: 0, signal: null })
  const rest = await sluice('consume mqtt -g g -c 900')
  assert.is(rest.stdout.length, 900 * 1_001)
})

test('two members of a group share its partitions and together print everything once', async () => {
  const one = start('consume wide -g g -f %s\\n')
  const two = start('consume wide -g g -f %s\\n')
  await groupHas('g', ({ state, members }) => state === 'Stable' && members === 2)
  const lines = Array.from({ length: 200 }, (_, i) => `m${i}`)
  for (let i = 0; i < 4; i++)
    await sluice(`produce -t wide/${'abcd'[i]} -l`, lines.filter((_line, k) => k % 4 === i).join('\n'))
  await groupHas('g', ({ lag }) => lag === 0)
  await Promise.all([one.stop('SIGTERM'), two.stop('SIGTERM')])
  const printed = `${one.stdout}${two.stdout}`.trimEnd().split('\n')
  assert.equal(printed.sort(), lines.sort())
})

test('--follow prints what comes from now on, from every partition', async () => {
  await sluice('produce -t wide/old -m old')
  const consumer = start('consume wide --follow --format %k=%s\\n')
  // Printing anything proves that it follows: the first messages may come before it has asked for `latest`.
  let marks = 0
  while (!consumer.stdout.includes('wide/mark=')) await sluice(`produce -t wide/mark -m ${marks++}`)
  for (const key of ['a', 'b', 'c', 'd', 'e', 'f']) await sluice(`produce -t wide/${key} -m ${key}`)
  for (const key of ['a', 'b', 'c', 'd', 'e', 'f']) await consumer.waitFor(new RegExp(`wide/${key}=${key}\n`), 'stdout')
  assert.not.match(consumer.stdout, 'old')
  assert.equal(await consumer.stop('SIGINT'), { code: 0, signal: null })
})

test('--from, --partition, --count and --json choose what is printed', async () => {
  await sluice('produce -t log -l', 'a\nb\nc\nd\n')
  assert.is((await sluice('consume mqtt --from 2')).stdout, 'c\nd\n')
  assert.is((await sluice('consume mqtt --from 1 --count 2 --partition 0')).stdout, 'b\nc\n')
  assert.is((await sluice('consume mqtt --from latest')).stdout, '')
  assert.is((await sluice('consume mqtt --from @2000-01-01')).stdout, 'a\nb\nc\nd\n')
  assert.is((await sluice('consume mqtt --from @2100-01-01')).stdout, '')
  const record = JSON.parse((await sluice('consume mqtt --json --count 1')).stdout)
  assert.equal([record.stream, record.offset, record.topic, record.value], ['mqtt', 0, 'log', 'a'])
})

test('a reading that was to bring a number of records and was stopped before has failed', async () => {
  await sluice('produce -t log -m a')
  const consumer = start('consume mqtt --count 2')
  await consumer.waitFor(/a\n/, 'stdout')
  assert.equal(await consumer.stop('SIGTERM'), { code: 1, signal: null })
})

test('a reader that takes the first lines only ends the program quietly', async () => {
  await sluice('produce -t log -l', `${'x'.repeat(1_000)}\n`.repeat(2_000))
  const consumer = start('consume mqtt')
  await consumer.waitFor(/x/, 'stdout')
  consumer.closeStdout()
  assert.equal(await consumer.ended, { code: 0, signal: null })
  assert.is(consumer.stderr, '')
})

test('what cannot be is one line with the way out, and the right exit code', async () => {
  const cases: [string, number, RegExp][] = [
    ['consume nope', 1, /no stream nope; there are: mqtt, wide/],
    ['consume ../mqtt', 1, /not valid|no name can have/],
    ['consume mqtt --from 7', 1, /offset 7 is not in mqtt\/0: it holds 0 up to 0/],
    ['consume mqtt --partition 1', 1, /stream mqtt has no partition 1: it has 1/],
    ['consume mqtt --group a/b', 2, /--group takes/],
    ['consume mqtt --group g --partition 0', 2, /--partition cannot be used with --group/],
    ['consume mqtt --count 0', 2, /--count takes/],
    ['consume mqtt --from yesterday', 2, /--from takes earliest/],
    ['consume mqtt --format %z', 2, /%z is not known/],
    ['consume', 2, /too few arguments/],
    ['produce -t elsewhere -m x', 1, /no stream takes the topic "elsewhere"; there are: sensors\/# \(mqtt\)/],
    ['produce -t a/+ -m x', 2, /wildcard/],
    ['produce -t log', 2, /-m TEXT, or -l/],
    ['produce -t log -m x -q 3', 2, /--qos takes/],
    ['produce -m x', 2, /--topic is missing/],
    ['streams nope', 1, /no stream nope/],
    ['groups nope', 1, /no group nope/],
    ['groups nope reset --to-earliest', 1, /no group nope/],
    ['groups g reset', 2, /say where to/],
    ['groups g reset --to-earliest --to-latest', 2, /one target/],
    ['groups g reset --to-datetime soon', 2, /ISO 8601/],
    ['groups g --to-earliest', 2, /groups NAME reset/],
  ]
  for (const [args, code, message] of cases) {
    const ran = await sluice(args)
    assert.is(ran.code, code, `${args}: ${ran.stderr}`)
    assert.match(ran.stderr, message)
    assert.is(ran.stdout, '', args)
    assert.not.match(ran.stderr, /\n {4}at /, args)
  }
  const away = await runSluice(['consume', 'mqtt', '--url', 'http://127.0.0.1:1'])
  assert.equal([away.code, away.stdout], [1, ''])
  assert.match(away.stderr, 'no node answers at http://127.0.0.1:1; is it running?')
})

test('streams and groups are shown as tables, and as JSON for programs', async () => {
  await sluice('produce -t log -l', 'a\nb\n')
  await sluice('consume mqtt -g g -c 1')
  assert.match((await sluice('streams')).stdout, /^STREAM .*\nmqtt +1 +2 /)
  assert.match((await sluice('streams wide')).stdout, /\n +2 +0 +0 +0\n$/)
  const [first] = (await sluice('streams --json')).stdout.split('\n')
  assert.is(JSON.parse(first).name, 'mqtt')
  assert.match((await sluice('groups')).stdout, /\ng +Empty +0 +1 +mqtt\n$/)
  assert.match((await sluice('groups g')).stdout, /\nmqtt +0 +1 +2 +1 /)
  assert.is(JSON.parse((await sluice('groups g --json')).stdout).offsets[0].lag, 1)
})

test('a reset shows what it would do, does it with --execute, and not under a running member', async () => {
  await sluice('produce -t log -l', 'a\nb\nc\n')
  await sluice('consume mqtt -g g -c 3')
  const committed = async () =>
    (await getJson<{ offsets: { committed_offset: number }[] }>(`${node.httpUrl}/v1/groups/g`)).offsets[0]
      .committed_offset
  const shown = await sluice('groups g reset --to-earliest')
  assert.match(shown.stdout, /\nmqtt +0 +3 +0 +0 +3\n$/)
  assert.match(shown.stderr, 'Nothing was changed')
  assert.is(await committed(), 3)
  const targets: [string, number][] = [
    ['--shift-by=-2', 1],
    ['--to-latest', 3],
    ['--to-offset 2', 2],
    ['--to-offset 99', 3],
    ['--to-datetime 2000-01-01', 0],
    ['--to-datetime 2100-01-01T00:00Z', 3],
    ['--to-earliest', 0],
  ]
  for (const [target, offset] of targets) {
    assert.is((await sluice(`groups g reset ${target} --execute`)).code, 0, target)
    assert.is(await committed(), offset, target)
  }
  assert.is((await sluice('consume mqtt -g g -c 3')).stdout, 'a\nb\nc\n')
  assert.is((await sluice('groups new reset --to-latest --stream mqtt --execute')).code, 0)
  const member = start('consume mqtt -g g')
  await groupHas('g', ({ state }) => state === 'Stable')
  const refused = await sluice('groups g reset --to-earliest --execute')
  assert.is(refused.code, 1)
  assert.match(refused.stderr, 'stop them first')
  await member.stop('SIGTERM')
})

test.run()
