// The devices of a simulation, from its options. Each has randomness of its own, so that a seed says what happens to it whatever the others do.

import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { openTtyPort } from '../serial/tty-port.js'
import type { SimulatedDevice } from './fleet.js'
import { makePtyPair, type PtyPair } from './pty-pair.js'
import { seededRandom } from './random.js'
import { SerialStation } from './serial-station.js'
import type { SimOptions } from './sim-options.js'
import { SnStation } from './sn-station.js'

const KEY_BYTES = 16
const SEED_STEP = 7919

export interface SerialStations {
  readonly devices: readonly SimulatedDevice[]
  close(): void
}

export const serialId = (index: number): string => `serial-${index}`

/** The same for whoever knows the seed: a key for tests, not for the field. */
export function keyOf({ seed }: SimOptions, id: string): Buffer {
  return createHash('sha256').update(`${seed} ${id}`).digest().subarray(0, KEY_BYTES)
}

/** @param folder Where the ends of the lines are: `node-N` for a node, `device-N`. */
export async function openSerialStations(options: SimOptions, folder: string): Promise<SerialStations> {
  const { serial, baud, damage, rate, payload, window, key, seed } = options
  const pairs: PtyPair[] = []
  const devices: SimulatedDevice[] = []
  try {
    for (let i = 0; i < serial; i++) {
      const pair = await makePtyPair(join(folder, `device-${i}`), join(folder, `node-${i}`))
      pairs.push(pair)
      const id = serialId(i)
      const port = await openTtyPort(pair.deviceEnd, 115_200)
      const random = seededRandom(seed + SEED_STEP * i)
      const line = { baudRate: baud, damage, random, rate, payloadBytes: payload, window }
      devices.push(new SerialStation(port, { id, ...line, ...(key && { key: keyOf(options, id) }) }))
    }
  } catch (error) {
    for (const pair of pairs) pair.close()
    throw error
  }
  return {
    devices,
    close() {
      for (const pair of pairs) pair.close()
    },
  }
}

export function openSnStations(options: SimOptions, gateway: { host: string; port: number }): SimulatedDevice[] {
  const { udp, loss, duplicate, reorder, rate, payload, seed } = options
  return Array.from({ length: udp }, (_, i) => {
    const radio = {
      loss,
      duplication: duplicate,
      reordering: reorder,
      random: seededRandom(seed - SEED_STEP * (i + 1)),
    }
    return new SnStation({ id: `sn-${i}`, ...gateway, ...radio, rate, payloadBytes: payload })
  })
}
