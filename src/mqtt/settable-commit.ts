// A Commit that is settled by whoever made it: for acknowledgements that wait for something else than, or more than, one commit of a stream.

import type { SluiceError } from '../base/errors.js'
import type { Commit } from '../log/types.js'

export class SettableCommit implements Commit {
  state: 'pending' | 'durable' | 'failed' = 'pending'
  error: SluiceError | null = null
  private callbacks: ((error: SluiceError | null) => void)[] = []

  /** Already settled. */
  static settled(error: SluiceError | null): SettableCommit {
    const commit = new SettableCommit()
    commit.settle(error)
    return commit
  }

  settle(error: SluiceError | null): void {
    if (this.state !== 'pending') return
    this.state = error === null ? 'durable' : 'failed'
    this.error = error
    const { callbacks } = this
    this.callbacks = []
    for (const callback of callbacks) callback(error)
  }

  onSettled(callback: (error: SluiceError | null) => void): void {
    if (this.state === 'pending') this.callbacks.push(callback)
    else callback(this.error)
  }

  durable(): Promise<void> {
    return new Promise((resolve, reject) => this.onSettled((error) => (error === null ? resolve() : reject(error))))
  }
}
