// The settled-once promise of a group commit, without a promise per record: see Commit in types.ts.

import { assert } from '../base/assert.js'
import type { SluiceError } from '../base/errors.js'
import type { Commit } from './types.js'

type Callback = (error: SluiceError | null) => void

export class GroupCommit implements Commit {
  state: 'pending' | 'durable' | 'failed' = 'pending'
  error: SluiceError | null = null
  private callbacks: Callback[] = []

  onSettled(callback: Callback): void {
    if (this.state === 'pending') this.callbacks.push(callback)
    else callback(this.error)
  }

  durable(): Promise<void> {
    return new Promise((resolve, reject) => this.onSettled((error) => (error ? reject(error) : resolve())))
  }

  settle(error: SluiceError | null): void {
    assert(this.state === 'pending', 'a commit settles once')
    this.state = error ? 'failed' : 'durable'
    this.error = error
    const callbacks = this.callbacks
    this.callbacks = []
    for (const callback of callbacks) callback(error)
  }
}
