// Gzip on the thread pool, with contexts that are used again. To make one ready costs about as much as to compress a batch of 64 KB with it, and since V8
// counts its 200 KB as memory outside the heap, every few dozen that come and go start a garbage collection of the whole heap.

import zlib from 'node:zlib'

/** Contexts that are kept while nothing is compressed, of one kind. */
const MAX_IDLE = 4

export class GzipPool {
  private readonly idle: GzipContext[] = []

  constructor(private readonly options: zlib.ZlibOptions) {}

  /** @returns a gzip stream [RFC 1952]. As many are made at once as are asked for. */
  async compress(bytes: Uint8Array): Promise<Buffer> {
    const context = this.idle.pop() ?? new GzipContext(this.options)
    const compressed = await context.compress(bytes)
    // One that has failed does not come back.
    if (this.idle.length < MAX_IDLE) this.idle.push(context)
    else context.close()
    return compressed
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
