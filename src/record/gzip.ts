// Gzip on the thread pool, with contexts that are used again. To make one ready costs about as much as to compress a batch of 64 KB with it, and since V8
// counts its 200 KB as memory outside the heap, every few dozen that come and go start a garbage collection of the whole heap.

import zlib from 'node:zlib'

/** Contexts that are kept while nothing is compressed, of one kind. */
const MAX_IDLE = 4

export class GzipPool {
  private readonly idle: GzipContext[] = []
  private readonly waiting: (() => void)[] = []
  private atWork = 0

  /** @param maxAtOnce What more is asked for waits, in the order of asking. */
  constructor(
    private readonly options: zlib.ZlibOptions,
    private readonly maxAtOnce = Number.POSITIVE_INFINITY,
  ) {}

  /** @returns a gzip stream [RFC 1952]. */
  async compress(bytes: Uint8Array): Promise<Buffer> {
    if (this.atWork >= this.maxAtOnce) await new Promise<void>((resolve) => this.waiting.push(resolve))
    else this.atWork += 1
    try {
      const context = this.idle.pop() ?? new GzipContext(this.options)
      const compressed = await context.compress(bytes)
      // One that has failed does not come back.
      if (this.idle.length < MAX_IDLE) this.idle.push(context)
      else context.close()
      return compressed
    } finally {
      const next = this.waiting.shift()
      if (next === undefined) this.atWork -= 1
      else next()
    }
  }
}

/** Compresses one after the other. */
class GzipContext {
  private readonly stream: zlib.Gzip & zlib.ZlibReset
  private output: Buffer[] = []

  constructor(options: zlib.ZlibOptions) {
    this.stream = zlib.createGzip(options) as zlib.Gzip & zlib.ZlibReset
    this.stream.on('data', (chunk: Buffer) => this.output.push(chunk))
    // What goes wrong is told to the call that waits.
    this.stream.on('error', () => {})
  }

  compress(bytes: Uint8Array): Promise<Buffer> {
    const { stream } = this
    return new Promise((resolve, reject) => {
      const failed = (error: Error): void => reject(error)
      stream.once('error', failed)
      stream.write(bytes)
      stream.flush(zlib.constants.Z_FINISH, () => {
        stream.off('error', failed)
        if (stream.destroyed) return
        const compressed = this.output.length === 1 ? this.output[0] : Buffer.concat(this.output)
        this.output = []
        stream.reset()
        resolve(compressed)
      })
    })
  }

  close(): void {
    this.stream.close()
  }
}
