import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { configOf, problemsOf } from './config-helper.js'

const upstream = (lines: string): string => `[[stream]]
name = "alarms"
topics = ["alarms/#"]
[[stream]]
name = "telemetry"
topics = ["#"]
[[upstream]]
name = "cloud"
type = "mqtt"
url = "mqtt://broker.example"
${lines}
`

test('weights are whole numbers by stream, in the file or the environment', () => {
  assert.equal(configOf(upstream('')).upstream[0].weights, {})
  assert.equal(configOf(upstream('weights = { alarms = 8 }')).upstream[0].weights, { alarms: 8 })
  const environment = { SLUICE_UPSTREAM_CLOUD_WEIGHTS: 'alarms=8, telemetry=2' }
  assert.equal(configOf(upstream(''), environment).upstream[0].weights, { alarms: 8, telemetry: 2 })
})

test('a weight for what is not forwarded, or that is none, is a problem that says how to mend it', () => {
  const problem = (lines: string): string => problemsOf(upstream(lines)).join('\n')
  assert.match(problem('weights = { alarm = 8 }'), /"alarm", which this upstream does not forward.*alarms, telemetry/s)
  assert.match(problem('streams = ["telemetry"]\nweights = { alarms = 8 }'), /"alarms", which this upstream does not/)
  assert.match(problem('weights = { alarms = 0 }'), /"alarms" = 0.*from 1 to 1000/s)
  assert.match(problem('weights = { alarms = "8" }'), /whole number/)
  assert.match(problem('weights = 8'), /table of whole numbers/)
})

test('keys of live first are a problem without it, and it is one between nodes', () => {
  const problem = (lines: string): string => problemsOf(upstream(lines)).join('\n')
  assert.is(problem('order = "live_first"\nlive_share = 60\nbacklog_after_ms = 500'), '')
  assert.match(problem('live_share = 60'), /live_share.*has no effect in order/)
  assert.match(problem('order = "newest"'), /in_order.*live_first/)
  const toNode = upstream('order = "live_first"').replace('type = "mqtt"', 'type = "sluice"')
  assert.match(problemsOf(toNode).join('\n'), /order.*has no effect: a Sluice node keeps the order/)
})

test.run()
