// An MQTT front over a real log in a directory of its own, as a node would wire it.

import { join } from 'node:path'
import mqtt, { type IClientOptions, type MqttClient } from 'mqtt'
import { systemClock } from '../../src/base/clock.js'
import { silentLogger } from '../../src/base/logger.js'
import { MqttFront } from '../../src/mqtt/mqtt-front.js'
import type { MqttFrontOptions } from '../../src/mqtt/mqtt-front-options.js'
import { LevelStateStore } from '../../src/state/state-store.js'
import type { StateStore } from '../../src/state/types.js'
import { openLog, type TestLog, type TestStream } from '../helpers/open-log.js'
import { tempDir } from '../helpers/temp-dir.js'

export interface TestFront {
  readonly front: MqttFront
  readonly testLog: TestLog
  readonly port: number
  readonly directory: string
  connect(options?: IClientOptions): Promise<MqttClient>
  /** Connects without waiting for CONNACK. */
  client(options?: IClientOptions): MqttClient
  stop(): Promise<void>
}

export interface TestFrontOptions extends Partial<MqttFrontOptions> {
  readonly directory?: string
  readonly streams?: readonly TestStream[]
  /** What the front is given for the state store. */
  readonly wrapState?: (state: StateStore) => StateStore
}

export async function startFront(options: TestFrontOptions = {}): Promise<TestFront> {
  const { directory = tempDir(), streams = [{ name: 'mqtt', topics: ['#'] }], wrapState, ...more } = options
  const testLog = await openLog(directory, [...streams, { name: 'unrouted', topics: [] }])
  const state = await LevelStateStore.open({
    directory: join(directory, 'mqtt-state'),
    logger: silentLogger,
    onFatal: () => {},
  })
  const front = await MqttFront.start({
    listen: ['127.0.0.1:0'],
    catalog: testLog.log,
    routes: streams.map(({ name, topics }) => ({ stream: name, topics: topics ?? ['#'], key: 'topic' })),
    state: wrapState?.(state) ?? state,
    clock: systemClock,
    logger: silentLogger,
    ...more,
  }).catch(async (error) => {
    await state.close()
    await testLog.close()
    throw error
  })
  const port = Number(front.addresses[0].split(':').pop())
  const clients: MqttClient[] = []
  const client = (clientOptions: IClientOptions = {}): MqttClient => {
    const made = mqtt.connect({ host: '127.0.0.1', port, reconnectPeriod: 0, resubscribe: false, ...clientOptions })
    made.on('error', () => {})
    clients.push(made)
    return made
  }
  return {
    front,
    testLog,
    port,
    directory,
    client,
    async connect(clientOptions) {
      const made = client(clientOptions)
      await new Promise<void>((resolve, reject) => {
        made.once('connect', () => resolve())
        made.once('error', reject)
        made.once('close', () => reject(new Error('closed before CONNACK')))
      })
      return made
    },
    async stop() {
      for (const one of clients) one.end(true)
      await front.stop()
      await testLog.close()
      await state.close()
    },
  }
}

/** The next message a client receives, with its packet. */
export function nextMessage(
  client: MqttClient,
): Promise<{ topic: string; payload: string; qos: number; retain: boolean; dup: boolean }> {
  return new Promise((resolve) =>
    client.once('message', (topic, payload, packet) =>
      resolve({ topic, payload: payload.toString(), qos: packet.qos, retain: packet.retain, dup: packet.dup }),
    ),
  )
}
