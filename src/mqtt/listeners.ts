// The listeners of the configuration, opened, renewed and closed together. Used by the front.

import { messageOf } from '../base/errors.js'
import type { Logger } from '../base/logger.js'
import { type Listener, type ListenOptions, listen } from './listener.js'

export class Listeners {
  private readonly open: Listener[] = []

  constructor(private readonly logger: Logger) {}

  /** @throws SluiceError as `listen`: then those before it are open. */
  async listen(addresses: readonly string[], options: ListenOptions): Promise<void> {
    for (const wanted of addresses) {
      const listener = await listen(wanted, options)
      this.open.push(listener)
      this.logger.info('listening', { address: listener.address })
    }
  }

  /** As bound, in the order in which they were opened. */
  get addresses(): readonly string[] {
    return this.open.map(({ address }) => address)
  }

  /**
   * Reads the certificates again; where one is not good, the one before stays and the log says why.
   * @returns whether clients' certificates may rest on others now than before.
   */
  async reloadCertificates(): Promise<boolean> {
    let others = false
    for (const { address, reloadCertificate } of this.open)
      await reloadCertificate?.().then(
        (changed) => {
          others ||= changed
          this.logger.info('certificate read again', { address })
        },
        (error) => this.logger.error('certificate not renewed', { address, error: messageOf(error) }),
      )
    return others
  }

  /** Accepts nothing more; resolves when the ports are free. */
  async close(): Promise<void> {
    await Promise.all(this.open.map((listener) => listener.close()))
  }
}
