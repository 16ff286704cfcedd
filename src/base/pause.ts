// Pauses in the background work of something that may be ended at any moment. They keep no process alive.

export class Pause {
  private isOver = false
  private endNow: () => void = () => {}

  /** Resolves after `ms`, or as soon as pauses are over. One at a time. */
  wait(ms: number): Promise<void> {
    if (this.isOver) return Promise.resolve()
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms).unref()
      this.endNow = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }

  /** Ends the one there is; there is none from then on. */
  end(): void {
    this.isOver = true
    this.endNow()
  }
}
