// The brokers a workload is run against. Each run gets a fresh one, with nothing stored.

import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import mqtt from 'mqtt'
import { findProgram, Mosquitto, mosquittoMissing } from '../../test/helpers/mosquitto.js'
import { NodeProcess } from '../../test/helpers/node-process.js'
import { residentKb } from '../../test/helpers/process-usage.js'
import { Program } from '../../test/helpers/program.js'
import { tempDir } from '../../test/helpers/temp-dir.js'

export interface RunningBroker {
  readonly port: number
  readonly pid: number
  stop(): Promise<unknown>
}

export interface Contestant {
  readonly name: string
  /** What an acknowledgement of this broker promises about the message. */
  readonly durability: string
  /** @param maxConnections Where it has to be more than the broker allows by itself. */
  start(core: number | undefined, maxConnections?: number): Promise<RunningBroker>
}

/** What the most a Sluice node of these workloads may take is, 10,000 idle connections included, and what one has taken. Resident, MB. */
export const MAX_RSS_MB = 650
export const sluiceMemory = { peakMb: 0 }

export const sink: Contestant = {
  name: 'sink',
  durability: 'none: answers and forgets; the ceiling of the load generator',
  async start(core) {
    const program = new Program(process.execPath, [join(import.meta.dirname, 'ack-sink.js')], { core })
    const [, port] = await program.waitFor(/listening on port (\d+)/)
    return { port: Number(port), pid: program.pid, stop: () => program.stop('SIGKILL') }
  },
}

export const sluice: Contestant = {
  name: 'sluice',
  durability: 'on disk: fdatasync before the ack; a stream takes #, ACLs on',
  // With an ACL file, which mosquitto is spared: a gateway has one.
  async start(core, maxConnections = 1000) {
    const acl = join(tempDir(), 'acl')
    writeFileSync(acl, 'topic deny secret/#\npattern read clients/%c/#\ntopic readwrite #\n')
    const config = `[mqtt]\nacl_file = ${JSON.stringify(acl)}\nmax_connections = ${maxConnections}\n`
    const node = await NodeProcess.start({ core, config })
    const stop = () => {
      sluiceMemory.peakMb = Math.max(sluiceMemory.peakMb, residentKb(node.pid, 'VmHWM') / 1024)
      return node.kill('SIGKILL')
    }
    return { port: node.mqttPort, pid: node.pid, stop }
  },
}

export const mosquitto: Contestant = {
  name: 'mosquitto',
  durability: 'memory, and with no subscriber not even that',
  async start(core) {
    const broker = await Mosquitto.start({ core })
    return { port: broker.port, pid: broker.pid, stop: () => broker.kill('SIGKILL') }
  },
}

/** mosquitto made to keep what it acknowledges: a session that is away has subscribed, and the database is saved every 10 s. */
export const mosquittoKeeping: Contestant = {
  name: 'mosquitto, keeping',
  durability: 'memory; page cache by the autosave every 10 s',
  async start(core) {
    const broker = await Mosquitto.start({ core, persistenceDir: tempDir(), config: ['autosave_interval 10'] })
    const client = await mqtt.connectAsync(broker.url, { clientId: 'away', clean: false, reconnectPeriod: 0 })
    await client.subscribeAsync('#', { qos: 1 })
    await client.endAsync()
    return { port: broker.port, pid: broker.pid, stop: () => broker.kill('SIGKILL') }
  },
}

/** Version of the installed mosquitto, or null. */
export function mosquittoVersion(): string | null {
  if (mosquittoMissing !== null) return null
  try {
    // It prints its help and exits with 3.
    execFileSync(findProgram('mosquitto') ?? 'mosquitto', ['-h'], { encoding: 'utf8' })
    return null
  } catch (error) {
    return /version (\S+)/.exec(String((error as { stdout?: unknown }).stdout))?.[1] ?? 'unknown'
  }
}
