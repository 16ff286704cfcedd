// Where commands write: stdout for data, stderr for words. A write resolves once there is room for the next, so that a fast producer of
// output (consume) is held back by a slow reader instead of filling memory.

import type { Writable } from 'node:stream'

export class Output {
  constructor(
    private readonly stream: Writable & { readonly isTTY?: boolean; readonly columns?: number; readonly rows?: number },
  ) {}

  get isTty(): boolean {
    return this.stream.isTTY === true
  }

  /** Width of the terminal; 80 where it is not known. */
  get columns(): number {
    return this.stream.columns ?? 80
  }

  /** Height of the terminal; 24 where it is not known. */
  get rows(): number {
    return this.stream.rows ?? 24
  }

  /** Resolves when more may be written; also, with nothing written, when the reader has gone. */
  write(data: string | Uint8Array): Promise<void> {
    if (this.stream.destroyed || this.stream.write(data)) return Promise.resolve()
    return new Promise((resolve) => {
      const settle = (): void => {
        this.stream.off('drain', settle)
        this.stream.off('close', settle)
        this.stream.off('error', settle)
        resolve()
      }
      this.stream.on('drain', settle)
      this.stream.on('close', settle)
      this.stream.on('error', settle)
    })
  }

  /**
   * Writes and waits until the system has taken it all.
   * @returns false when it could not be delivered, because nobody reads any more.
   */
  deliver(data: string | Uint8Array): Promise<boolean> {
    if (this.stream.destroyed) return Promise.resolve(false)
    return new Promise((resolve) => this.stream.write(data, (error) => resolve(error === null || error === undefined)))
  }

  line(text: string): Promise<void> {
    return this.write(`${text}\n`)
  }

  /** Writes a value as one line of JSON. */
  json(value: unknown): Promise<void> {
    return this.line(JSON.stringify(value))
  }

  /** Resolves when everything written so far has been handed to the system, or can no longer be. */
  flushed(): Promise<void> {
    if (this.stream.destroyed) return Promise.resolve()
    return new Promise((resolve) => this.stream.write('', () => resolve()))
  }
}
