// A broker that does nothing: answers CONNECT with CONNACK and every QoS 1 PUBLISH with PUBACK. What the load generator reaches against it is the most it
// could show for any broker. Prints its port.

import { createServer } from 'node:net'

/** Remaining length of the packet at `at` and where its body begins; null when the bytes do not say yet. */
function remainingLength(bytes: Buffer, at: number): { length: number; bodyAt: number } | null {
  let length = 0
  for (let i = 0; i < 4; i++) {
    if (at + 1 + i >= bytes.length) return null
    const byte = bytes[at + 1 + i]
    length += (byte & 0x7f) * 0x80 ** i
    if (byte < 0x80) return { length, bodyAt: at + 2 + i }
  }
  throw new Error('malformed remaining length')
}

/** Answers all whole packets in `bytes`; @returns what is left over. */
function answer(bytes: Buffer, write: (answers: Buffer) => void): Buffer {
  const answers = Buffer.allocUnsafe(bytes.length + 4)
  let used = 0
  let at = 0
  while (at + 2 <= bytes.length) {
    const size = remainingLength(bytes, at)
    if (size === null || size.bodyAt + size.length > bytes.length) break
    const type = bytes[at] >> 4
    if (type === 1) used += Buffer.from([0x20, 2, 0, 0]).copy(answers, used)
    else if (type === 3 && (bytes[at] & 0x06) !== 0) {
      const idAt = size.bodyAt + 2 + bytes.readUInt16BE(size.bodyAt)
      answers[used++] = 0x40
      answers[used++] = 2
      answers[used++] = bytes[idAt]
      answers[used++] = bytes[idAt + 1]
    }
    at = size.bodyAt + size.length
  }
  if (used > 0) write(answers.subarray(0, used))
  return bytes.subarray(at)
}

const server = createServer({ noDelay: true, highWaterMark: 1 << 18 }, (socket) => {
  let rest: Buffer = Buffer.alloc(0)
  socket.on('error', () => {}) // the generator leaves without a word
  socket.on('data', (chunk) => {
    rest = answer(rest.length === 0 ? chunk : Buffer.concat([rest, chunk]), (answers) => socket.write(answers))
  })
})
server.listen(0, '127.0.0.1', () => {
  const address = server.address()
  if (typeof address === 'object' && address !== null) process.stdout.write(`listening on port ${address.port}\n`)
})
