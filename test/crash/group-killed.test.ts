// test-run: limit 240 s
// Members of two groups that are killed, stall, leave and come anew, on a node that is killed as well, held against what a group promises. The members
// of one use our client: every record is delivered, in order, and no member begins below what was committed. Those of the other speak HTTP
// themselves, two processes now and then under one static id, and are held against all the rules of group-history.ts.

import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { SluiceClient } from '../../src/client/index.js'
import { type GroupEvent, violationsOf } from '../helpers/group-history.js'
import { getJson, requestJson } from '../helpers/http.js'
import { NodeProcess } from '../helpers/node-process.js'
import { Program } from '../helpers/program.js'
import { SeededRandom } from '../helpers/seeded-random.js'

const PARTITIONS = 4
const RECORDS = 4_000
const MEMBERS = 3
const EVENTS = 12

interface Committed {
  readonly partition: number
  readonly committed_offset: number
}

interface Line {
  readonly at: bigint
  readonly member: number
  readonly what: string
  readonly partition: number
  readonly offset: number
}

test('whatever is killed, a group gets every record, in order, and goes on where it committed', async () => {
  const random = new SeededRandom()
  console.log(`seed ${random.seed} (SLUICE_TEST_SEED=${random.seed} repeats it)`)
  const node = await NodeProcess.start({
    config: `[[stream]]\nname = "mqtt"\ntopics = ["#"]\npartitions = ${PARTITIONS}`,
  })
  const all: Program[] = []
  const start = (): Program => {
    const args = [
      join(import.meta.dirname, 'group-member.js'),
      node.httpUrl,
      `m${all.length}`,
      String(random.seed + all.length),
    ]
    const program = new Program(process.execPath, args)
    all.push(program)
    return program
  }
  const members = Array.from({ length: MEMBERS }, start)
  const allRaw: Program[] = []
  const startRaw = (index: number): Program => {
    const staticId = index === 0 ? [] : [`pump${index}`]
    const args = [join(import.meta.dirname, 'raw-group-member.js'), node.httpUrl, `r${allRaw.length}`]
    const program = new Program(process.execPath, [...args, String(random.seed + allRaw.length), ...staticId])
    allRaw.push(program)
    return program
  }
  const raw = Array.from({ length: MEMBERS }, (_, i) => startRaw(i))
  const nodeEndedAt: number[] = []
  const client = new SluiceClient({ url: node.httpUrl })
  const producer = client.producer({ stream: 'mqtt' })
  for (let event = 0; event < EVENTS; event++) {
    const share = Math.ceil(RECORDS / EVENTS)
    await producer.sendAllOf(Array.from({ length: share }, (_, i) => ({ topic: `t/${i % 50}`, value: 'x' })))
    await wait(random.below(400))
    if (event % 4 === 3) {
      await node.kill('SIGKILL')
      nodeEndedAt.push(Number(process.hrtime.bigint()))
      await node.startAgain()
      continue
    }
    const rawVictim = random.below(MEMBERS)
    // A static one that is not killed first: the new process fences it.
    if (rawVictim === 0 || random.chance(0.5)) await raw[rawVictim].stop('SIGKILL')
    raw[rawVictim] = startRaw(rawVictim)
    const victim = random.below(MEMBERS)
    await members[victim].stop('SIGKILL')
    members[victim] = start()
  }
  const { partitions } = await getJson<{ partitions: { high_watermark: number }[] }>(`${node.httpUrl}/v1/streams/mqtt`)
  const ends = partitions.map(({ high_watermark: end }) => end)
  // Asked of the node: a commit may have been stored although its answer was lost.
  const committed = async (group: string): Promise<number[]> => {
    const { status, body } = await requestJson<{ offsets: Committed[] }>(`${node.httpUrl}/v1/groups/${group}`)
    const offsets = status === 200 ? body.offsets : []
    return ends.map((_, p) => offsets.find(({ partition }) => partition === p)?.committed_offset ?? 0)
  }
  const deadline = Date.now() + 60_000
  for (const group of ['g', 'raw']) {
    while ((await committed(group)).join() !== ends.join() && Date.now() < deadline) await wait(100)
    assert.equal(await committed(group), ends, `group ${group} comes to the end of every partition`)
  }
  for (const member of [...members, ...allRaw]) await member.stop('SIGKILL')
  const history = allRaw.flatMap(({ stdout }) => eventsIn(stdout, nodeEndedAt))
  assert.equal(violationsOf(history, ends), [])
  console.log(`${history.length} events of ${allRaw.length} members that speak HTTP themselves`)
  check(
    all.map(({ stdout }) => stdout),
    ends,
  )
  await producer.close()
  client.close()
  await node.kill()
})

/** The last line may be cut off by the kill. A join that was asked for after the node's n-th end was answered by the one after it. */
function eventsIn(output: string, nodeEndedAt: readonly number[]): GroupEvent[] {
  const events = output
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as GroupEvent)
  const nodes = new Map<string, number>()
  for (const { member, what, askedAt } of events)
    if (what === 'assigned' && !nodes.has(member)) nodes.set(member, nodeEndedAt.filter((at) => at < askedAt).length)
  return events.map((event) => ({ ...event, node: nodes.get(event.member) ?? 0 }))
}

function check(outputs: readonly string[], ends: readonly number[]): void {
  const lines: Line[] = outputs.flatMap((output, member) =>
    [...output.matchAll(/^(\d+) (\w+) (\d+) (\d+)\n/gm)].map(([, at, what, partition, offset]) => ({
      at: BigInt(at),
      member,
      what,
      partition: Number(partition),
      offset: Number(offset),
    })),
  )
  lines.sort((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : 0))
  const committed = ends.map(() => 0)
  const delivered = ends.map((end) => new Uint8Array(end))
  /** Where each member reads each partition, by its own account. */
  const next = new Map<string, number>()
  for (const { member, what, partition, offset } of lines) {
    const key = `${member}/${partition}`
    if (what === 'assigned') {
      assert.ok(
        offset >= committed[partition],
        `m${member} begins ${partition} at ${offset}, ${committed[partition]} was committed`,
      )
      next.set(key, offset)
    }
    if (what === 'got') assert.is(offset, next.get(key), `m${member} reads ${partition} on, without a gap`)
    if (what === 'until') {
      delivered[partition].fill(1, next.get(key), offset + 1)
      next.set(key, offset + 1)
    }
    if (what === 'committed') committed[partition] = Math.max(committed[partition], offset)
  }
  delivered.forEach((seen, partition) => {
    assert.is(seen.indexOf(0), -1, `every record of partition ${partition} was delivered`)
  })
  console.log(`${lines.length} events of ${outputs.length} members, ${ends.join(' + ')} records`)
}

test.run()
