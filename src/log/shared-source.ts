// What is read of a segment, shared by its readers: opened by the first who comes, closed only when nobody reads, and not opened again while
// something is done to the files.

import { Waiters } from '../base/waiters.js'
import type { SegmentSource } from './segment-source.js'

export class SharedSource {
  private users = 0
  private readonly idleWaiters = new Waiters()
  /** While it is being opened, or is closed for some work; readers wait for it. */
  private transition: Promise<void> | null = null

  /** @param open Called while there is none, when somebody comes to read. Throws where there is nothing to read any more. */
  constructor(
    private source: SegmentSource | null,
    private readonly open: () => Promise<SegmentSource>,
  ) {}

  /** Runs `read` with the source, which stays open until `read` has settled. @throws what opening it throws. */
  async use<T>(read: (source: SegmentSource) => Promise<T>): Promise<T> {
    const source = await this.acquire()
    try {
      return await read(source)
    } finally {
      this.users -= 1
      if (this.users === 0) this.idleWaiters.wake()
    }
  }

  /** Waits for readers, closes the source, and runs `work` before anybody can open it again. */
  async whileClosed<T>(work: () => Promise<T>): Promise<T> {
    while (this.transition) await this.transition
    return this.during(async () => {
      if (this.users > 0) await this.idleWaiters.wait()
      await this.source?.close()
      this.source = null
      return work()
    })
  }

  private async acquire(): Promise<SegmentSource> {
    for (;;) {
      if (this.transition) await this.transition
      else if (this.source === null) await this.during(async () => void (this.source = await this.open()))
      else {
        // No await between the checks and this line: nobody can have begun to close it.
        this.users += 1
        return this.source
      }
    }
  }

  private async during<T>(change: () => Promise<T>): Promise<T> {
    const changed = change().finally(() => {
      this.transition = null
    })
    this.transition = changed.then(
      () => {},
      () => {},
    )
    return changed
  }
}
