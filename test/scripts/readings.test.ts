import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { readings, readingsSource, takeReadings } from '../../scripts/readings.js'

test('readings are JSON with time and value, on several topics, as many as are asked for', () => {
  const taken = takeReadings(readings(), 20_000)
  assert.is(taken.length, 20_000)
  for (const { mqttTopic, payload } of taken) {
    const { ts, value } = JSON.parse(payload) as { ts: string; value: number }
    assert.ok(Number.isFinite(Date.parse(ts)) && Number.isFinite(value), `${mqttTopic} ${payload}`)
  }
  assert.ok(new Set(taken.map((one) => one.mqttTopic)).size >= 4, readingsSource())
})

test.run()
