// Fills a broker with QoS 1 messages, as fast as it acknowledges them.

import { connect } from 'node:net'
import { encodeConnect, encodePublish } from '../../src/cli/bench/mqtt-packets.js'
import { readings } from '../readings.js'

export type Packets = Generator<(packetId: number) => Buffer, never>

const WINDOW = 2000

/** Publishes with a window, as fast as it is acknowledged. */
export function fill(port: number, count: number, packets: Packets): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(encodeConnect('filler')))
    let [sent, acked, bytes] = [0, -1, 0]
    socket.on('error', reject)
    socket.on('close', () => (acked >= count ? resolve() : reject(new Error(`closed after ${acked} acks`))))
    socket.on('data', (chunk) => {
      bytes += chunk.length
      // CONNACK and PUBACK are four bytes each.
      acked = Math.floor(bytes / 4) - 1
      const batch: Buffer[] = []
      for (; sent < count && sent - acked < WINDOW; sent++) batch.push(packets.next().value((sent % 60_000) + 1))
      if (batch.length > 0) socket.write(Buffer.concat(batch))
      if (acked >= count) socket.end()
    })
  })
}

/** Payloads that look like a reading and are different each time. */
export function* fillerPackets(payloadBytes: number): Packets {
  for (let n = 0; ; n++) {
    const text = `{"n":${n},"value":${Math.random()},"at":${Date.now()},"pad":"`
    const payload = Buffer.from(text.padEnd(payloadBytes, (n * 7919).toString(36)))
    yield (packetId) => encodePublish(`sensors/${n % 50}/temperature`, payload, 1, packetId)
  }
}

export function* readingPackets(): Packets {
  const source = readings()
  for (;;) {
    const { mqttTopic, payload } = source.next().value
    yield (packetId) => encodePublish(mqttTopic, Buffer.from(payload), 1, packetId)
  }
}
