// Ctrl-C, SIGTERM and a reader of stdout that has gone, as one AbortSignal. A command that never asks for the signal is ended by the
// system as any program is; one that asks gets the chance to clean up (leave its group, stop its node) and return.

/** How long a command may go on cleaning up once nobody reads its output. */
const READER_GONE_GRACE_MS = 2_000

/** Resolves once the command is told to end. */
export function aborted(signal: AbortSignal): Promise<null> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve(null)
    else signal.addEventListener('abort', () => resolve(null), { once: true })
  })
}

export interface SignalSource {
  on(event: 'SIGINT' | 'SIGTERM', listener: () => void): unknown
  exit(code: number): void
}

export class Interruption {
  private controller: AbortController | null = null

  constructor(private readonly source: SignalSource) {}

  get signal(): AbortSignal {
    if (this.controller === null) {
      const controller = new AbortController()
      this.controller = controller
      const interrupt = (): void => {
        if (controller.signal.aborted) this.source.exit(130)
        controller.abort()
      }
      this.source.on('SIGINT', interrupt)
      this.source.on('SIGTERM', interrupt)
    }
    return this.controller.signal
  }

  readerGone(): void {
    if (this.controller === null) {
      this.source.exit(0)
      return
    }
    if (!this.controller.signal.aborted) setTimeout(() => this.source.exit(0), READER_GONE_GRACE_MS).unref()
    this.controller.abort()
  }
}
