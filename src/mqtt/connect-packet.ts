// Reads and judges CONNECT, MQTT 3.1.1 section 3.1, and MQTT 3.1's, which differs in the protocol's name and level. Pure.
//
//   body    = protocol-name level flags keepalive(u16) payload
//   payload = client-id [will-topic will-message] [username] [password]        each u16 length, then bytes
//   flags   = username password will-retain will-qos(2) will clean reserved    from the top bit down

import { isUtf8 } from 'node:buffer'
import { characterProblem } from '../base/mqtt-text.js'
import { topicNameProblem } from '../base/topic-filter.js'
import type { Qos } from '../record/record.js'

export interface ConnectPacket {
  /** 3: MQTT 3.1; 4: MQTT 3.1.1. */
  readonly protocolLevel: 3 | 4
  readonly clean: boolean
  readonly keepaliveSeconds: number
  readonly clientId: string
  readonly will: {
    readonly mqttTopic: string
    readonly payload: Buffer
    readonly qos: Qos
    readonly retain: boolean
  } | null
  readonly username: string | undefined
  readonly password: Buffer | undefined
}

/** A CONNECT that cannot be accepted. `returnCode` is to be sent in a CONNACK; 0: close without a word. */
export interface RefusedConnect {
  readonly returnCode: 0 | 1 | 2
  readonly problem: string
}

const UNACCEPTABLE_PROTOCOL = 1
const IDENTIFIER_REJECTED = 2

/** Reads length-prefixed fields; past the end everything is null and `failed` stays true. */
class FieldReader {
  failed = false
  constructor(
    private readonly buffer: Buffer,
    public position: number,
    private readonly end: number,
  ) {}

  bytes(): Buffer {
    const start = this.position + 2
    const length = start <= this.end ? this.buffer.readUInt16BE(this.position) : 0
    if (start + length > this.end) {
      this.failed = true
      return Buffer.alloc(0)
    }
    this.position = start + length
    // A copy: passwords and wills outlive the chunk.
    return Buffer.from(this.buffer.subarray(start, this.position))
  }

  /** A UTF-8 string [MQTT-1.5.3-1, MQTT-1.5.3-2], without control characters. */
  text(): string {
    const bytes = this.bytes()
    const text = bytes.toString('utf8')
    if (!isUtf8(bytes) || characterProblem(text) !== null) this.failed = true
    return text
  }

  get atEnd(): boolean {
    return this.position === this.end
  }
}

/** @param maxClientIdBytes Inclusive. Reads buffer[start, end), the body of the packet. @param first The packet's first byte. */
export function readConnect(
  first: number,
  buffer: Buffer,
  start: number,
  end: number,
  maxClientIdBytes: number,
): ConnectPacket | RefusedConnect {
  const fields = new FieldReader(buffer, start, end)
  const name = fields.bytes().toString('latin1')
  const fixed = fields.position
  if (fields.failed || fixed + 4 > end) return malformed('CONNECT is cut short')
  const level = buffer[fixed]
  if (name !== 'MQTT' && name !== 'MQIsdp') return malformed('CONNECT names another protocol') // [MQTT-3.1.2-1]
  if (level !== (name === 'MQTT' ? 4 : 3)) return { returnCode: UNACCEPTABLE_PROTOCOL, problem: levelProblem(level) } // [MQTT-3.1.2-2]
  const flags = buffer[fixed + 1]
  const problem = flagsProblem(first & 15, flags, level)
  if (problem !== null) return malformed(problem)

  fields.position = fixed + 4
  const clientId = fields.text()
  const hasWill = (flags & 0x04) !== 0
  const willTopic = hasWill ? fields.text() : ''
  const willPayload = hasWill ? fields.bytes() : null
  // MQTT 3.1 lets the flags promise a user name and a password that are not there, for the sake of what was before it.
  const holds = (flag: number) => (flags & flag) !== 0 && !(level === 3 && fields.atEnd)
  const username = holds(0x80) ? fields.text() : undefined
  const password = holds(0x40) ? fields.bytes() : undefined
  if (fields.failed) return malformed('CONNECT is cut short, or holds invalid UTF-8 or a control character')
  if (!fields.atEnd) return malformed('CONNECT has bytes after its last field')
  const willProblem = hasWill ? topicNameProblem(willTopic) : null
  if (willProblem !== null) return malformed(`will topic ${willProblem}`)

  const clean = (flags & 0x02) !== 0
  // [MQTT-3.1.3-8]: without an identifier there is no session to come back to. MQTT 3.1 has no empty identifiers at all.
  if (clientId === '' && (!clean || level === 3))
    return { returnCode: IDENTIFIER_REJECTED, problem: 'client identifier is empty' }
  if (Buffer.byteLength(clientId) > maxClientIdBytes)
    return { returnCode: IDENTIFIER_REJECTED, problem: `client identifier is longer than ${maxClientIdBytes} bytes` }
  return {
    protocolLevel: level as 3 | 4,
    clean,
    keepaliveSeconds: buffer.readUInt16BE(fixed + 2),
    clientId,
    will:
      willPayload === null
        ? null
        : { mqttTopic: willTopic, payload: willPayload, qos: ((flags >> 3) & 3) as Qos, retain: (flags & 0x20) !== 0 },
    username,
    password,
  }
}

/** The top bit is how a mosquitto bridge asks for what is not in the standard; told no, it comes back without it. */
function levelProblem(level: number): string {
  const bridge = level === 0x83 || level === 0x84
  return `protocol level ${level} is not supported${bridge ? ' (a bridge with try_private, which will try again without)' : ''}`
}

function flagsProblem(headerFlags: number, flags: number, level: number): string | null {
  // MQTT 3.1 has what does not matter "not used" and "disregarded".
  if (level > 3) {
    if (headerFlags !== 0) return 'reserved flags of the fixed header of CONNECT are set' // [MQTT-2.2.2-2]
    if ((flags & 0x01) !== 0) return 'the reserved flag of CONNECT is set' // [MQTT-3.1.2-3]
    if ((flags & 0x04) === 0 && (flags & 0x38) !== 0) return 'will QoS or retain is set without a will' // [MQTT-3.1.2-11, -13, -15]
  }
  if ((flags & 0xc0) === 0x40) return 'a password without a user name' // [MQTT-3.1.2-22], and the same in MQTT 3.1
  return (flags & 0x18) === 0x18 ? 'will QoS 3 does not exist' : null // [MQTT-3.1.2-14]
}

function malformed(problem: string): RefusedConnect {
  return { returnCode: 0, problem }
}
