// What a thousand requests cost that wait for records: memory of the node, each.

import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { NodeProcess } from '../../test/helpers/node-process.js'
import { residentKb } from '../../test/helpers/process-usage.js'
import { formatTable, type Workload } from './workload.js'

const POLLS = 1000
const AT_MOST_KB = 60
const SETTLE_MS = 2000

export const longPolls: Workload = {
  name: 'long-polls',
  summary: `memory of ${POLLS} requests that wait for records`,
  async run(options) {
    options.progress('long polls')
    const node = await NodeProcess.start({ core: options.brokerCore })
    const sockets: Socket[] = []
    try {
      const before = residentKb(node.pid, 'VmRSS')
      for (let i = 0; i < POLLS; i++) {
        const socket = connect({ port: node.httpPort, host: '127.0.0.1' })
        await once(socket, 'connect')
        socket.write(
          'GET /v1/streams/mqtt/partitions/0/records?offset=latest&wait_ms=60000 HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n',
        )
        sockets.push(socket)
      }
      await waiting(node.httpUrl)
      const after = residentKb(node.pid, 'VmRSS')
      const eachKb = (after - before) / POLLS
      const text = [
        `${POLLS} long polls of a partition, each on a connection of its own`,
        '',
        ...formatTable([
          ['RSS before', 'with them', 'each', 'at most'],
          [mb(before), mb(after), `${eachKb.toFixed(1)} KB`, `${AT_MOST_KB} KB`],
        ]),
      ]
      return { text, result: { polls: POLLS, rss_kb: { before, after }, each_kb: eachKb, at_most_kb: AT_MOST_KB } }
    } finally {
      for (const socket of sockets) socket.destroy()
      await node.kill('SIGKILL')
    }
  },
}

/** Until all of them wait, and then for as long as the memory of their requests takes to be what it stays at. */
async function waiting(url: string): Promise<void> {
  for (;;) {
    const metrics = await (await fetch(`${url}/metrics`)).text()
    if (Number(/^sluice_http_waiting_polls (\d+)/m.exec(metrics)?.[1]) === POLLS) break
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  await new Promise((resolve) => setTimeout(resolve, SETTLE_MS))
}

const mb = (kb: number): string => `${(kb / 1024).toFixed(0)} MB`
