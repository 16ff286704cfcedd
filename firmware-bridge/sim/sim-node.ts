// The node of a simulation: in this process, with a log of its own that is looked through at the end.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Logger, loadValidConfig, startNode } from '../../src/index.js'
import type { DeviceStatus } from '../devices/device-registry.js'
import { startBridge } from '../start-bridge.js'
import type { SimulatedDevice } from './fleet.js'
import type { SimOptions } from './sim-options.js'
import { keyOf, serialId } from './stations.js'

const STREAM = 'devices'

export interface SimNode {
  /** Of the MQTT-SN gateway, where there is one. */
  readonly gateway: { readonly host: string; readonly port: number } | undefined
  readonly httpUrl: string
  status(): readonly DeviceStatus[]
  check(devices: readonly SimulatedDevice[]): Promise<CheckResult>
  stop(): Promise<void>
}

export interface CheckResult {
  readonly stored: number
  /** Acknowledged, but not in the log. */
  readonly missing: readonly string[]
  /** In the log more than once. */
  readonly twice: readonly string[]
}

/** @param lines The folder with the nodes' ends of the serial lines. */
export async function startSimNode(options: SimOptions, lines: string): Promise<SimNode> {
  const dataDir = mkdtempSync(join(tmpdir(), 'sluice-sim-data-'))
  const logger = new Logger('sim', 'error')
  const config = loadValidConfig({ text: configOf(options, lines), dataDir, environment: {} })
  const node = await startNode(config, { logger })
  const bridge = await startBridge(node, config.firmware, logger)
  node.showDevices(bridge.registry)
  const httpUrl = `http://${node.httpAddresses[0]}`
  const udp = bridge.registry.lines().find(({ kind }) => kind === 'mqtt-sn')
  return {
    gateway: udp && { host: '127.0.0.1', port: Number(udp.address.split(':').at(-1)) },
    httpUrl,
    status: () => bridge.registry.list(),
    check: (devices) => check(httpUrl, devices),
    async stop() {
      await bridge.stop()
      await node.stop()
      rmSync(dataDir, { recursive: true, force: true })
    },
  }
}

function configOf(options: SimOptions, lines: string): string {
  const { serial, udp, key } = options
  const parts = [
    '[mqtt]\nlisten = ["127.0.0.1:0"]\n[http]\nlisten = ["127.0.0.1:0"]',
    `[[stream]]\nname = "${STREAM}"\ntopics = ["devices/#"]`,
  ]
  if (serial > 0) {
    const window = `max_in_flight = ${Math.min(options.window, 1000)}`
    const authentication = key ? '\nauthentication = true' : ''
    parts.push(
      `[[firmware]]\nname = "serial"\nports = [${JSON.stringify(`${lines}/node-*`)}]\n${window}${authentication}`,
    )
    for (let i = 0; key && i < serial; i++)
      parts.push(`[[firmware.device]]\nid = "${serialId(i)}"\nkey = "${keyOf(options, serialId(i)).toString('hex')}"`)
  }
  if (udp > 0)
    parts.push(
      '[[firmware]]\nname = "radio"\ntype = "mqtt-sn"\nlisten = ["127.0.0.1:0"]\ntopic_prefix = "devices/{device}/"\nmax_clients_per_address = 10000\nmax_packet_rate_per_address = 100000\nmax_byte_rate_per_address = "100MB/s"',
    )
  return `${parts.join('\n')}\n`
}

/** Every acknowledged number of every device is there once. */
async function check(httpUrl: string, devices: readonly SimulatedDevice[]): Promise<CheckResult> {
  const times = new Map<string, number>()
  const partition = `${httpUrl}/v1/streams/${STREAM}/partitions/0/records`
  for (let offset = 0; ; ) {
    const response = await fetch(`${partition}?offset=${offset}&max_records=10000`)
    const answer = (await response.json()) as {
      readonly records: readonly { readonly value: string }[]
      readonly next_offset: number
      readonly high_watermark: number
    }
    for (const { value } of answer.records) {
      const message = value.split(' ', 2).join(' ')
      times.set(message, (times.get(message) ?? 0) + 1)
    }
    offset = answer.next_offset
    if (offset >= answer.high_watermark) break
  }
  const missing: string[] = []
  for (const { id, traffic } of devices)
    for (let number = 1; number <= traffic.ackedTo; number++)
      if (!traffic.lost.has(number) && !times.has(`${id} ${number}`)) missing.push(`${id} ${number}`)
  const twice = [...times].filter(([, count]) => count > 1).map(([message]) => message)
  return { stored: [...times.values()].reduce((sum, count) => sum + count, 0), missing, twice }
}
