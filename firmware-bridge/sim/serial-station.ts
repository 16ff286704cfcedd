// A simulated device of the serial protocol with the line it is on and the messages it publishes.

import { randomBytes } from 'node:crypto'
import type { Duplex } from 'node:stream'
import type { SimulatedDevice } from './fleet.js'
import type { Random } from './random.js'
import { SerialDevice } from './serial-device.js'
import { SimulatedLine } from './simulated-line.js'
import { Traffic } from './traffic.js'

const TOPIC = 'm'
/** A UART's own buffer: more would only wait there. */
const MAX_BACKLOG_BYTES = 64

export interface SerialStationOptions {
  readonly id: string
  readonly key?: Uint8Array
  readonly baudRate: number
  /** Share of frames, each way. */
  readonly damage: number
  readonly random: Random
  /** Messages a second; 0 for as many as the line takes. */
  readonly rate: number
  readonly payloadBytes: number
  /** Messages unacknowledged, inclusive. */
  readonly window: number
}

export class SerialStation implements SimulatedDevice {
  readonly id: string
  readonly traffic: Traffic
  readonly up: SimulatedLine
  private readonly down: SimulatedLine
  private readonly device: SerialDevice
  /** The traffic's numbers by the protocol's. */
  private readonly numbers = new Map<number, number>()

  /** @param port The device's end of the line. */
  constructor(
    private readonly port: Duplex,
    { id, key, baudRate, damage, random, rate, payloadBytes, window }: SerialStationOptions,
  ) {
    const monotonicMs = () => performance.now()
    this.id = id
    this.traffic = new Traffic(id, rate, payloadBytes, monotonicMs)
    const line = { baudRate, damage, random, monotonicMs }
    this.up = new SimulatedLine({ ...line, deliver: (bytes) => port.write(bytes) })
    this.down = new SimulatedLine({ ...line, deliver: (bytes) => this.device.receive(bytes) })
    this.device = new SerialDevice({
      ...{ id, key, window, monotonicMs },
      // Longer than a window takes on the slowest line.
      retryMs: 1000,
      receiveWindow: 0,
      newNonce: () => randomBytes(8),
      write: (bytes) => this.up.write(bytes),
      onAcked: (sequence) => this.acked(sequence),
      onRefused: (sequence) => {
        this.traffic.refused(this.numbers.get(sequence) ?? 0)
        this.numbers.delete(sequence)
      },
    })
    port.on('data', (bytes: Buffer) => this.down.write(bytes))
    port.on('error', () => {})
  }

  get connected(): boolean {
    return this.device.connected
  }
  get sentFrames(): number {
    return this.up.frames
  }
  get harmedFrames(): number {
    return this.up.damagedFrames
  }

  poll(publishing: boolean): void {
    while (publishing && this.device.freeSlots > 0 && this.traffic.isDue()) {
      const sequence = this.device.publish(TOPIC, this.traffic.payload())
      if (sequence === null) break
      this.numbers.set(sequence, this.traffic.taken())
    }
    if (this.up.backlog < MAX_BACKLOG_BYTES) this.device.poll()
  }

  reset(remembers: boolean): void {
    this.up.stop()
    this.traffic.reset(remembers)
    this.device.reset(remembers)
    if (!remembers) this.numbers.clear()
  }

  close(): void {
    this.up.stop()
    this.down.stop()
    this.port.destroy()
  }

  private acked(sequence: number): void {
    for (const [each, number] of this.numbers) {
      if (each > sequence) break
      this.numbers.delete(each)
      this.traffic.ackedUpTo(number)
    }
  }
}
