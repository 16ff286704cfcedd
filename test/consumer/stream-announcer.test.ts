import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { ANNOUNCE_EVERY_MS, StreamAnnouncer } from '../../src/consumer/stream-announcer.js'
import { FakeClock } from '../helpers/fake-clock.js'
import { MemoryStream, memoryCatalog } from '../helpers/memory-streams.js'

function announced(stream: MemoryStream, clock: FakeClock) {
  const said: [string, string][] = []
  const tell = (topic: string, payload: Buffer) => void said.push([topic, String(payload)])
  const announcer = new StreamAnnouncer({ streams: memoryCatalog(stream), clock, tell })
  return { said, announcer }
}

test('the end of a stream is announced at once, then at most once in the interval, with the newest offsets', async () => {
  const [stream, clock] = [new MemoryStream('s', 2), new FakeClock()]
  const { said, announcer } = announced(stream, clock)
  for (let i = 0; i < 5; i++) stream.add(i % 2, 'x')
  assert.equal(said.length, 1)
  assert.is(said[0][0], '$SYS/sluice/streams/s/end')
  await clock.advance(ANNOUNCE_EVERY_MS)
  assert.equal(JSON.parse(said[1][1]), {
    stream: 's',
    partitions: [
      { partition: 0, high_watermark: 3 },
      { partition: 1, high_watermark: 2 },
    ],
  })
  await clock.advance(10 * ANNOUNCE_EVERY_MS)
  assert.is(said.length, 2, 'nothing comes, nothing is said')
  stream.dropBelow(0, 2)
  assert.is(said.length, 2, 'retention moves no end')
  announcer.stop()
  stream.add(0, 'x')
  await clock.advance(ANNOUNCE_EVERY_MS)
  assert.is(said.length, 2)
  assert.is(stream.listenerCount, 0)
})

test.run()
