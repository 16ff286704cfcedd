// Streams that left the configuration: they stay readable until they have expired, by the limits they had, and are missed if they are gone before.

import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { listDirectory } from '../state/durable-files.js'
import type { DamageLedger } from './damage-ledger.js'
import type { LogOptions, StreamOptions } from './log-options.js'
import { keptPolicy } from './retention-file.js'
import type { LogStream } from './stream.js'

/** @param isConfigured Whether a stream is open already. Gives those there are one by one; what has nothing left is removed. */
export async function* openRetired(
  options: LogOptions,
  isConfigured: (stream: string) => boolean,
  open: (stream: StreamOptions) => Promise<LogStream>,
): AsyncGenerator<LogStream> {
  const streams = join(options.dataDirectory, 'streams')
  for (const name of (await listDirectory(streams)).filter((one) => !isConfigured(one))) {
    const stream = await open({
      name,
      retired: true,
      topics: [],
      partitions: 0,
      allPartitions: true,
      lingerMs: 0,
      compression: 'none',
      retention: await keptPolicy(join(streams, name)),
    })
    if (stream.partitions === 0) {
      await stream.close()
      await rm(join(streams, name), { recursive: true, force: true })
      continue
    }
    const meaning = 'it can be read until it has expired, and takes no records'
    options.logger.warn('a stream is no longer in the configuration', { stream: name, meaning })
    yield stream
  }
}

/** What has been written to is there until it has expired, also when it is no longer configured. */
export async function missRetired(
  { ceilings, dataDirectory, logger }: LogOptions,
  configured: Iterable<string>,
  damageLedger: DamageLedger,
): Promise<void> {
  const there = new Set([...configured, ...(await listDirectory(join(dataDirectory, 'streams')))])
  for (const stream of ceilings.streams()) {
    if (there.has(stream) || ceilings.hasEnded(stream)) continue
    logger.error('a stream that left the configuration is gone before it has expired', { stream })
    const ends = Array.from({ length: ceilings.partitionsOf(stream) }, (_, partition) => ({
      offset: ceilings.of(stream, partition),
      epoch: 1,
    }))
    await damageLedger.enter(
      ends.flatMap(({ offset }, partition) =>
        offset === 0 ? [] : [{ stream, partition, first: 0, last: offset - 1, endUnknown: true }],
      ),
    )
    await ceilings.end(stream, ends)
  }
}
