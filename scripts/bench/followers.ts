// Consumer groups that follow a stream: how long after a message was to be sent it has been received by each of a hundred groups, each with a
// position of its own.

import { NodeProcess } from '../../test/helpers/node-process.js'
import type { FollowersResult, FollowersShape } from './followers-load.js'
import { runLoad } from './run-load.js'
import { formatTable, type Workload } from './workload.js'

const RATE = 1000
const AT_MOST_P99_MS = 10
const CASES = [
  { groups: 1, by: 'follow' },
  { groups: 10, by: 'follow' },
  { groups: 100, by: 'follow' },
  { groups: 100, by: 'poll' },
] as const
const WORDS = { follow: 'follow, as lines', poll: 'poll, stored bytes' } as const

export const followers: Workload = {
  name: 'followers',
  summary: `publish to receive for 1 to 100 consumer groups that follow ${RATE} messages a second`,
  async run(options) {
    const rows = [['groups', 'which', 'p50', 'p99', 'max', 'at most (p99)', 'messages an answer', 'load program busy']]
    const result: unknown[] = []
    for (const { groups, by } of CASES) {
      options.progress(`followers: ${groups} groups that ${by}`)
      const node = await NodeProcess.start({ core: options.brokerCore })
      try {
        const shape: FollowersShape = {
          mqttPort: node.mqttPort,
          httpPort: node.httpPort,
          stream: 'mqtt',
          groups,
          by,
          messagesPerSecond: RATE,
          payloadBytes: 100,
          warmUpMs: options.quick ? 500 : 2000,
          measureMs: options.quick ? 1500 : 10_000,
        }
        const measured = await runLoad<FollowersResult>('followers-load', shape, options)
        rows.push([
          `${groups}`,
          WORDS[by],
          ms(measured.p50Ms),
          ms(measured.p99Ms),
          ms(measured.maxMs),
          groups === 100 && by === 'follow' ? ms(AT_MOST_P99_MS) : '',
          (measured.received / measured.answers).toFixed(1),
          `${(measured.busy * 100).toFixed(0)} %`,
        ])
        result.push({ groups, by, at_most_p99_ms: AT_MOST_P99_MS, ...measured })
      } finally {
        await node.kill('SIGKILL')
      }
    }
    const text = [
      `Publish to receive, from the intended time of sending: ${RATE} QoS 1 messages a second of 100 B, each received by every group over HTTP, after fdatasync`,
      '',
      ...formatTable(rows),
    ]
    return { text, result }
  },
}

const ms = (value: number): string => `${value.toFixed(1)} ms`
