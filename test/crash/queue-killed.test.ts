// test-run: limit 180 s
// Workers on a work queue of a node that is killed again and again: no acknowledged message comes back, none is forgotten.

import { setTimeout as wait } from 'node:timers/promises'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { requestJson } from '../helpers/http.js'
import { NodeProcess } from '../helpers/node-process.js'
import { SeededRandom } from '../helpers/seeded-random.js'

const KILLS = 6
const MESSAGES = 3_000
const WORKERS = 3

interface Message {
  readonly offset: number
  readonly value: string
  readonly receipt: string
}

test(`a node killed ${KILLS} times redelivers what was not acknowledged, and nothing that was`, async () => {
  const random = new SeededRandom()
  console.log(`seed ${random.seed} (SLUICE_TEST_SEED=${random.seed} repeats it)`)
  const node = await NodeProcess.start({ config: '[[queue]]\nname = "q"\nstream = "mqtt"\nmax_attempts = 1000' })
  for (let first = 0; first < MESSAGES; first += 1_000) {
    const records = Array.from({ length: 1_000 }, (_, i) => ({ topic: `t/${i % 7}`, value: `m${first + i}` }))
    assert.is(
      (await requestJson(`${node.httpUrl}/v1/streams/mqtt/records`, { method: 'POST', body: { records } })).status,
      200,
    )
  }

  /** Answered with success; what is only asked may or may not have been done. */
  const acked = new Set<number>()
  const asked = new Set<number>()
  const broken: string[] = []
  let isOver = false
  const post = <T>(action: string, body: unknown) =>
    requestJson<T>(`${node.httpUrl}/v1/queues/mqtt/q/${action}`, { method: 'POST', body })
  const work = async (): Promise<void> => {
    while (!isOver && acked.size < MESSAGES) {
      try {
        const { status, body } = await post<{ messages: Message[] }>('receive', {
          max_messages: 20,
          visibility_timeout_ms: 500,
        })
        if (status !== 200) throw new Error(JSON.stringify(body))
        const { messages } = body
        for (const { offset } of messages)
          if (acked.has(offset)) broken.push(`offset ${offset} came back after its ack`)
        const mine = messages.filter(() => random.chance(0.7))
        if (messages.length === 0) await wait(20)
        if (mine.length === 0) continue
        for (const { offset } of mine) asked.add(offset)
        const answer = await post<{ stale: string[] }>('ack', { receipts: mine.map(({ receipt }) => receipt) })
        if (answer.status !== 200) throw new Error(JSON.stringify(answer.body))
        for (const { offset, receipt } of mine) if (!answer.body.stale.includes(receipt)) acked.add(offset)
      } catch {
        // The node is gone: it comes back.
        await wait(20)
      }
    }
  }
  const workers = Array.from({ length: WORKERS }, work)
  for (let kill = 0; kill < KILLS; kill++) {
    await wait(100 + random.below(300))
    await node.kill('SIGKILL')
    await node.startAgain()
  }
  const deadline = setTimeout(() => (isOver = true), 60_000)
  // An ack that was stored and whose answer was lost: the message never comes again, and its absence is right.
  const settled = (async () => {
    while (!isOver) {
      await wait(200)
      const { body } = await requestJson<{ backlog: number; in_flight: number; waiting: number }>(
        `${node.httpUrl}/v1/queues/mqtt/q`,
      )
      if (body.backlog + body.in_flight + body.waiting === 0) isOver = true
    }
  })()
  await Promise.all([...workers, settled])
  clearTimeout(deadline)
  assert.equal(broken, [])
  const forgotten = Array.from({ length: MESSAGES }, (_, offset) => offset).filter((offset) => !asked.has(offset))
  assert.equal(forgotten, [], 'every message was worked on')
  console.log(`${acked.size} of ${MESSAGES} acknowledged with an answer`)
  await node.kill()
})

test.run()
