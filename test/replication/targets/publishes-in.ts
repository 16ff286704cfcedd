// PUBLISH packets taken apart, to look at what was made.

import type { Packets } from '../../../src/replication/targets/publish-encoder.js'

export interface PublishIn {
  readonly header: number
  readonly topic: string
  readonly packetId: number
  readonly payload: Buffer
}

export function publishesIn(packets: Packets | Buffer): PublishIn[] {
  let rest = Buffer.isBuffer(packets) ? packets : Buffer.concat([packets.bytes, packets.tail ?? Buffer.alloc(0)])
  const found: PublishIn[] = []
  while (rest.length > 0) {
    let length = 0
    let at = 1
    for (let factor = 1; ; factor *= 128) {
      const byte = rest[at++]
      length += (byte & 0x7f) * factor
      if (byte < 0x80) break
    }
    const topicEnd = at + 2 + rest.readUInt16BE(at)
    found.push({
      header: rest[0],
      topic: rest.toString('utf8', at + 2, topicEnd),
      packetId: rest.readUInt16BE(topicEnd),
      payload: rest.subarray(topicEnd + 2, at + length),
    })
    rest = rest.subarray(at + length)
  }
  return found
}
