// A log and its model, step by step. What the steps are, and how often each comes, is in steps.ts; who takes them is collected here: who writes
// (writer.ts), who reads (reader.ts), how far destinations are (cursors.ts), and here the disk, and the ends and starts of the node. After each start
// everything is read and compared (audit.ts).

import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { Logger } from '../../../src/base/logger.js'
import { openLog, type TestLog } from '../../helpers/open-log.js'
import type { SeededRandom } from '../../helpers/seeded-random.js'
import { tempDirInMemory } from '../../helpers/temp-dir.js'
import { Audit } from './audit.js'
import { ModelCursors } from './cursors.js'
import { Saboteur } from './damage.js'
import { closeEverything, loseUnsynced, openThings } from './io-hooks.js'
import { Reader } from './reader.js'
import { Scene } from './scene.js'
import { MAX_BYTES, OPTIONS, SEGMENT_BYTES, STREAMS } from './settings.js'
import { World } from './world.js'
import { Writer } from './writer.js'

export class ModelRun {
  readonly scene: Scene
  readonly world: World
  readonly writer: Writer
  readonly reader: Reader
  readonly cursors: ModelCursors
  readonly audit: Audit
  private readonly directory: string
  private readonly saboteur: Saboteur
  /** What the log has warned of since it started. */
  said: string[] = []

  constructor(readonly random: SeededRandom) {
    const root = tempDirInMemory()
    this.directory = join(root, 'data')
    mkdirSync(join(root, 'spare'))
    this.scene = new Scene(random)
    this.world = this.scene.world
    this.writer = new Writer(this.scene)
    this.reader = new Reader(this.scene)
    this.cursors = new ModelCursors(this.scene)
    this.audit = new Audit(this.scene, this.cursors)
    this.saboteur = new Saboteur(this.directory, random, this.scene.streams, join(root, 'spare'))
  }

  trace: (what: string) => void = () => {}

  // ---- the disk

  fillDisk(): void {
    this.world.disk.fill(this.random.below(60_000))
    this.scene.wasFull = true
  }

  /** Whoever was refused for want of space goes on once there is some. */
  async emptyDisk(): Promise<void> {
    if (!this.world.disk.isFull) return
    this.world.disk.empty()
    await this.world.advance(8000)
    for (const [name, model] of this.scene.streams) {
      const log = this.scene.log(name)
      const isFullByPolicy = name === 'keep' && log.stats().bytes > MAX_BYTES - SEGMENT_BYTES
      assert.ok(log.refused === null || isFullByPolicy, `${name} does not go on: ${log.refused?.message}`)
      if (model.isUncertain) model.settle(log, null)
    }
    this.scene.wasFull = false
  }

  failDisk(): void {
    this.world.disk.failsIn = 1 + this.random.below(80)
  }

  // ---- ends and starts

  async start(): Promise<void> {
    this.scene.life += 1
    this.said = []
    const logger = new Logger('log', 'warn', (line) => this.said.push(line))
    const open = (): Promise<TestLog> =>
      openLog(this.directory, STREAMS, {
        ...OPTIONS,
        clock: this.world,
        logger,
        onFatal: (error) => this.world.end(error),
      })
    this.scene.node = await this.world.until(open())
  }

  async restart(): Promise<void> {
    await this.close()
    await this.start()
    this.settle()
    await this.audit.everything()
  }

  async kill(): Promise<void> {
    await this.crash()
    if (this.random.chance(0.1)) this.saboteur.keepState()
    await this.start()
    this.settle()
    await this.audit.everything()
  }

  /** The witnesses are given the moment they need: see the known limits in src/log/README.md. */
  async damage(): Promise<void> {
    if (this.random.chance(0.3)) await this.close()
    else {
      await this.world.comeToRest()
      await this.crash()
    }
    const { what, exposed, stateOlder } = this.saboteur.inflict()
    this.trace(what)
    for (const [name, exposure] of exposed) this.scene.streams.get(name)?.expose(exposure)
    await this.start()
    for (const [name, model] of this.scene.streams) model.settle(this.scene.log(name), exposed.get(name) ?? null)
    this.cursors.settle(stateOlder)
    await this.audit.everything(stateOlder)
    rmSync(join(this.directory, 'quarantine'), { recursive: true, force: true })
  }

  async close(): Promise<void> {
    // Whoever reads stops first.
    await this.world.settle()
    await this.world.until(this.scene.running.close())
    await this.world.stop()
    this.world.disk.forget()
    this.world.disk.empty()
    assert.equal(openThings(), [], 'everything is closed')
    this.scene.node = null
  }

  /** Lets go of whatever is left. */
  async abandon(): Promise<void> {
    World.current = null
    await closeEverything()
  }

  /** As SIGKILL does it, at whatever moment it is. */
  private async crash(): Promise<void> {
    const torn = (await this.world.stop()).flatMap(({ tear }) => tear ?? [])
    this.world.disk.forget()
    this.world.disk.empty()
    await this.world.carryOut(async () => {
      if (torn.length > 0 && this.random.chance(0.6)) await torn[this.random.below(torn.length)](this.random)
      await closeEverything()
      if (this.random.chance(0.5)) loseUnsynced()
    })
    this.scene.node = null
  }

  private settle(): void {
    for (const [name, model] of this.scene.streams) model.settle(this.scene.log(name), null)
    this.cursors.settle(false)
  }
}
