// test-run: limit 300 s
// MQTT 3.1.1 sections 3.1 and 3.2, and what of section 1.5 and 2.2 shows there: each test holds the node to the statement it names.

import * as assert from 'uvu/assert'
import {
  connectPacket,
  DISCONNECT,
  PINGREQ,
  packet,
  publishOf,
  publishPacket,
  subscribePacket,
  text,
  u16,
} from '../mqtt/raw-client.js'
import { type Served, servedOver } from './served-over.js'

/** The payload of a CONNECT, each field with its length. */
const fields = (...parts: (string | Buffer)[]) =>
  Buffer.concat(parts.map((part) => (typeof part === 'string' ? text(part) : part)))
const notUtf8 = Buffer.concat([u16(1), Buffer.from([0xff])])
/** U+D800, half of a surrogate pair. */
const surrogate = Buffer.concat([u16(3), Buffer.from([0xed, 0xa0, 0x80])])
const WILL = 0x04
const USERNAME = 0x80
const PASSWORD = 0x40

const CLOSED_WITHOUT_A_WORD: readonly [string, Buffer][] = [
  ['01-01 [MQTT-3.1.0-1] the first packet is PUBLISH', publishPacket('t', 'x')],
  ['01-02 [MQTT-3.1.0-1] the first packet is PINGREQ', PINGREQ],
  ['01-03 [MQTT-3.1.2-1, MQTT-3.2.2-6] another protocol name', connectPacket({ name: 'HTTP' })],
  ['01-04 [MQTT-3.1.2-3] the reserved flag is set', connectPacket({ flags: 3 })],
  ['01-05 [MQTT-3.1.2-11, MQTT-3.1.2-15] will retain without a will', connectPacket({ flags: 0x22 })],
  ['01-06 [MQTT-3.1.2-11, MQTT-3.1.2-13] will QoS without a will', connectPacket({ flags: 0x0a })],
  ['01-07 [MQTT-3.1.2-14] will QoS 3', connectPacket({ flags: 0x1a | WILL, payload: fields('w', 'x') })],
  [
    '01-08 [MQTT-3.1.2-22] a password without a user name',
    connectPacket({ flags: 2 | PASSWORD, payload: fields('secret') }),
  ],
  ['01-09 [MQTT-3.1.2-19] the user name that the flags promise is missing', connectPacket({ flags: 2 | USERNAME })],
  ['01-10 [MQTT-3.1.2-18] a user name that the flags do not promise', connectPacket({ payload: fields('user') })],
  [
    '01-11 [MQTT-1.5.3-1, MQTT-3.1.3-4] the client identifier is not UTF-8',
    packet(0x10, 'MQTT', [4, 2], u16(0), notUtf8),
  ],
  ['01-12 [MQTT-1.5.3-2] the client identifier holds NUL', connectPacket({ clientId: 'a\0b' })],
  ['01-50 (section 1.5.3) the client identifier holds a control character', connectPacket({ clientId: 'a\u0001b' })],
  [
    '01-51 (section 1.5.3) the will topic holds a control character',
    connectPacket({ flags: 2 | WILL, payload: fields('w\u001f', 'x') }),
  ],
  [
    '01-52 (section 1.5.3) the user name holds a control character',
    connectPacket({ flags: 2 | USERNAME, payload: fields('u\u009f') }),
  ],
  ['01-13 a will topic with a wildcard', connectPacket({ flags: 2 | WILL, payload: fields('w/#', 'x') })],
  ['01-14 [MQTT-3.1.4-1] CONNECT of two bytes', Buffer.from([0x10, 2, 0, 4])],
  [
    '01-15 [MQTT-3.1.3-10] the will topic is not UTF-8',
    connectPacket({ flags: 2 | WILL, payload: fields(notUtf8, 'x') }),
  ],
  [
    '01-16 [MQTT-3.1.3-11] the user name is not UTF-8',
    connectPacket({ flags: 2 | USERNAME, payload: fields(notUtf8) }),
  ],
  ['01-17 [MQTT-2.2.2-2] reserved bits of the fixed header are set', packet(0x11, 'MQTT', [4, 2], u16(0), 'c')],
  ['01-18 [MQTT-3.1.2-9] the will that the flags promise is missing', connectPacket({ flags: 2 | WILL })],
  [
    '01-19 [MQTT-3.1.2-21] the password that the flags promise is missing',
    connectPacket({ flags: 2 | USERNAME | PASSWORD, payload: fields('user') }),
  ],
  [
    '01-40 [MQTT-3.1.2-20] a password that the flags do not promise',
    connectPacket({ flags: 2 | USERNAME, payload: fields('user', 'secret') }),
  ],
  ['01-41 [MQTT-3.1.3-3] there is no client identifier', packet(0x10, 'MQTT', [4, 2], u16(0))],
  [
    '01-42 [MQTT-1.5.3-1] the client identifier holds half a surrogate pair',
    packet(0x10, 'MQTT', [4, 2], u16(0), surrogate),
  ],
  [
    '01-43 [MQTT-3.1.2-11] a will topic and message without the will flag',
    connectPacket({ payload: fields('w', 'x') }),
  ],
]

servedOver(['mqtt'], (test, server) => {
  for (const [name, bytes] of CLOSED_WITHOUT_A_WORD)
    test(`${name}: the connection is closed without a word`, async () => {
      assert.equal(await answersBeforeClose(server, bytes), [])
    })

  test('01-20 [MQTT-3.1.2-2, MQTT-3.2.2-4, MQTT-3.2.2-5] another protocol level is answered with return code 1, and closed', async () => {
    const levels = [connectPacket({ level: 5, payload: Buffer.from([0]) })]
    for (const level of [0, 3, 6, 0x84]) levels.push(connectPacket({ level }))
    for (const bytes of levels) assert.equal(await answersBeforeClose(server, bytes), ['20020001'])
  })

  test('01-21 [MQTT-3.1.3-8, MQTT-3.2.2-4, MQTT-3.2.2-5] an empty client identifier with a session to keep is answered with return code 2, and closed', async () => {
    assert.equal(await answersBeforeClose(server, connectPacket({ clientId: '', clean: false })), ['20020002'])
  })

  test('01-22 [MQTT-3.1.3-6, MQTT-3.1.4-4] clients without an identifier are accepted, each as one of its own', async () => {
    const clients = [await server.connected(''), await server.connected('')]
    for (const client of clients) {
      assert.equal(await client.untilPong(), [])
      client.socket.destroy()
    }
  })

  test('01-23 MQTT 3.1 is accepted, with a client identifier of more than 23 characters too', async () => {
    assert.equal(await connackOf(server, connectPacket({ name: 'MQIsdp', level: 3, clientId: 'x'.repeat(40) })), [0, 0])
  })

  for (const [number, what, first, flags, payload] of [
    ['01-44', 'flags in the fixed header', 0x1f, 2, []],
    ['01-45', 'the reserved flag, and a session to keep', 0x10, 1, []],
    ['01-46', 'will QoS and retain without a will', 0x10, 2 | 0x30, []],
    ['01-47', 'a user name and a password that are only promised', 0x10, 2 | USERNAME | PASSWORD, []],
    ['01-48', 'a password that is only promised', 0x10, 2 | USERNAME | PASSWORD, ['user']],
  ] as const)
    test(`${number} MQTT 3.1 has no objection to ${what}`, async () => {
      const bytes = packet(first, 'MQIsdp', [3, flags], u16(0), 'old', ...payload)
      const client = await server.open()
      client.write(bytes)
      assert.equal(await client.next(), { first: 0x20, body: Buffer.from([0, 0]) })
      assert.equal(await client.untilPong(), [])
      client.socket.destroy()
    })

  test('01-49 of MQTT 3.1 too a CONNECT that is cut short or too long, has a will at QoS 3 or a password without a user name, closes the connection without a word', async () => {
    const payloads: [number, Buffer][] = [
      [2 | USERNAME, Buffer.from([0])],
      [2 | USERNAME, Buffer.from([0, 9, 0x75])],
      [2, fields('user')],
      [2 | PASSWORD, fields('secret')],
      [2 | WILL, fields('w')],
      [0x1a | WILL, fields('w', 'm')],
    ]
    for (const [flags, payload] of payloads)
      assert.equal(await answersBeforeClose(server, connectPacket({ name: 'MQIsdp', level: 3, flags, payload })), [])
  })

  test('01-24 [MQTT-3.1.0-2] a second CONNECT closes the connection', async () => {
    const twice = connectPacket({ clientId: 'twice' })
    assert.equal(await answersBeforeClose(server, twice, twice), ['20020000'])
  })

  test('01-25 a connection that says nothing, or only half a CONNECT, is closed after the time-out', async () => {
    const both = [answersBeforeClose(server), answersBeforeClose(server, Buffer.from([0x10]))]
    assert.equal(await Promise.all(both), [[], []])
  })

  test('01-26 [MQTT-3.1.2-24] a client silent for one and a half keepalives is closed, one that pings is not', async () => {
    const silent = await server.open()
    const pinging = await server.open()
    silent.write(connectPacket({ clientId: 'silent', keepalive: 1 }))
    pinging.write(connectPacket({ clientId: 'pinging', keepalive: 1 }))
    const timer = setInterval(() => pinging.write(PINGREQ), 300)
    const began = performance.now()
    await silent.whenClosed()
    clearInterval(timer)
    const seconds = (performance.now() - began) / 1000
    assert.ok(seconds >= 1.4, `closed after ${seconds} s`)
    assert.not(pinging.closed)
    pinging.socket.destroy()
  })

  test('01-27 [MQTT-3.1.4-2] a client that connects again takes its session over from the older connection', async () => {
    const older = await server.connected('same')
    const newer = await server.connected('same')
    await older.whenClosed()
    assert.equal(await newer.untilPong(), [])
    newer.socket.destroy()
  })

  test('01-28 [MQTT-3.2.0-1] packets sent right behind CONNECT are taken after it, and CONNACK comes first', async () => {
    const client = await server.open()
    client.write(
      connectPacket({ clientId: 'eager' }),
      subscribePacket(1, ['e', 1]),
      publishPacket('e', 'x', { qos: 1, id: 2 }),
    )
    const firsts: (number | undefined)[] = []
    while (firsts.length < 4) firsts.push((await client.next())?.first)
    assert.equal(firsts.slice(0, 2), [0x20, 0x90])
    assert.equal(firsts.slice(2).sort(), [0x32, 0x40])
    client.socket.destroy()
  })

  test('01-30 [MQTT-3.1.3-1] all fields at once are read in their order', async () => {
    const flags = 2 | WILL | USERNAME | PASSWORD
    assert.equal(await connackOf(server, connectPacket({ flags, payload: fields('w', 'm', 'user', 'secret') })), [0, 0])
  })

  test('01-31 [MQTT-3.1.3-5] identifiers of 1 to 23 bytes of digits and letters are accepted', async () => {
    const all = '0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ'
    for (const clientId of ['0', all.slice(0, 23), all.slice(23, 46), all.slice(39)])
      assert.equal(await connackOf(server, connectPacket({ clientId })), [0, 0])
  })

  test('01-32 [MQTT-3.1.3-9, MQTT-3.2.2-5] an identifier longer than the limit is answered with return code 2, and closed', async () => {
    assert.equal(await connackOf(server, connectPacket({ clientId: 'x'.repeat(256) })), [0, 0])
    assert.equal(await answersBeforeClose(server, connectPacket({ clientId: 'x'.repeat(257) })), ['20020002'])
  })

  test('01-33 [MQTT-3.1.4-5] what follows a CONNECT that is refused is not processed', async () => {
    const watcher = await server.connected('watcher-33')
    watcher.write(subscribePacket(1, ['refused', 0]))
    await watcher.next()
    await answersBeforeClose(server, connectPacket({ level: 5 }), publishPacket('refused', 'x'))
    await answersBeforeClose(server, connectPacket({ clientId: '', clean: false }), publishPacket('refused', 'x'))
    assert.equal(await watcher.untilPong(), [])
    watcher.socket.destroy()
  })

  for (const [number, qos, retain] of [
    ['01-34', 0, false],
    ['01-35', 1, false],
    ['01-36', 2, true],
  ] as const)
    test(`${number} [MQTT-3.1.2-8, MQTT-3.1.2-9, MQTT-3.1.2-16, MQTT-3.1.2-17] a will with QoS ${qos} ${retain ? 'and' : 'without'} retain is published as such when its connection breaks`, async () => {
      const topic = `will/${number}`
      const watcher = await server.connected('watcher')
      watcher.write(subscribePacket(1, [topic, 2]))
      await watcher.next()
      const client = await server.open()
      const flags = 2 | WILL | (qos << 3) | (retain ? 0x20 : 0)
      client.write(connectPacket({ clientId: 'rude', flags, payload: fields(topic, 'gone') }))
      await client.next()
      client.write(Buffer.from([0x00, 0x00]))
      const will = publishOf(await watcher.next())
      assert.equal([will.topic, will.payload, will.qos, will.retain], [topic, 'gone', qos, false])
      watcher.socket.destroy()
      const kept = await server.retainedOf(topic)
      assert.equal(
        kept.map(({ payload }) => payload),
        retain ? ['gone'] : [],
      )
    })

  test('01-37 [MQTT-3.1.2-10, MQTT-3.14.4-3] after DISCONNECT there is no will, and a will that was published is not published again', async () => {
    const watcher = await server.connected('watcher-37')
    watcher.write(subscribePacket(1, ['will/37', 0]))
    await watcher.next()
    const withWill = connectPacket({ clientId: 'polite', flags: 2 | WILL, payload: fields('will/37', 'gone') })
    const polite = await server.open()
    polite.write(withWill)
    await polite.next()
    polite.write(DISCONNECT)
    await polite.whenClosed()
    const rude = await server.open()
    rude.write(withWill)
    await rude.next()
    rude.socket.destroy()
    assert.is(publishOf(await watcher.next()).payload, 'gone')
    // The same client once more, without a will.
    const last = await server.connected('polite')
    last.socket.destroy()
    await (await server.connected('polite')).untilPong()
    assert.equal(await watcher.untilPong(), [])
    watcher.socket.destroy()
  })

  test('01-38 [MQTT-3.1.2-12] a connection without a will that breaks publishes nothing', async () => {
    const watcher = await server.connected('watcher-38')
    watcher.write(subscribePacket(1, ['#', 0]))
    await watcher.next()
    const client = await server.connected('willless')
    client.write(Buffer.from([0x00, 0x00]))
    await client.whenClosed()
    assert.equal(
      (await watcher.untilPong()).map((one) => publishOf(one).topic).filter((topic) => !topic.startsWith('will/')),
      [],
    )
    watcher.socket.destroy()
  })

  test('01-39 [MQTT-3.14.4-2] what follows DISCONNECT is not processed, and the connection is closed', async () => {
    const client = await server.connected('gone')
    client.write(DISCONNECT, publishPacket('t', 'x', { qos: 1, id: 1 }), PINGREQ)
    assert.is(await client.next(), null)
  })
})

/** Sends the bytes on a fresh connection; @returns what comes back before the node closes it. */
async function answersBeforeClose(server: Served, ...bytes: Buffer[]): Promise<string[]> {
  const client = await server.open()
  client.write(...bytes)
  await client.whenClosed()
  return client.packets.map(({ first, body }) =>
    Buffer.concat([Buffer.from([first, body.length]), body]).toString('hex'),
  )
}

async function connackOf(server: Served, bytes: Buffer): Promise<number[]> {
  const client = await server.open()
  client.write(bytes)
  const connack = await client.next()
  client.socket.destroy()
  return [...(connack?.body ?? [])]
}
