import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Downlink, type DownlinkHost } from '../../firmware-bridge/serial/downlink.js'
import type { BridgeMessage } from '../../firmware-bridge/serial/messages.js'

const message = (packetId: number) =>
  ({ qos: 1, packetId, dup: false, retain: false, mqttTopic: `pump/${packetId}`, payload: Buffer.from('x') }) as const

/** A downlink whose device answers, if it does, before what it is sent has been handed over. */
function open(answer: (sent: BridgeMessage, downlink: Downlink) => void): {
  downlink: Downlink
  delivered: () => number
} {
  let delivered = 0
  const host = {
    known: { id: 'pump', topicPrefix: 'pump/' },
    device: { count: () => (delivered += 1) },
    sessions: { get: async () => undefined },
    receiveWindow: 4,
    maxFrameBytes: 100,
    send: (sent: BridgeMessage) => answer(sent, downlink),
  } as unknown as DownlinkHost
  const downlink = new Downlink(host)
  return { downlink, delivered: () => delivered }
}

test('what a device says once it is gone is passed over', () => {
  const { downlink, delivered } = open(() => {})
  downlink.onMessage(message(1))
  downlink.onMessage(message(2))
  downlink.end()
  downlink.onLinkLost()
  for (const number of [0, 1, 2]) downlink.received(number)
  assert.is(delivered(), 0)
})

test('an answer that comes while its message is being handed over counts', () => {
  const { downlink, delivered } = open((sent, to) => {
    if (sent.type === 'message') to.received(sent.number)
  })
  for (const packetId of [1, 2, 3, 4, 5, 6]) downlink.onMessage(message(packetId))
  assert.is(delivered(), 6)
  downlink.end()
})

test.run()
