// The TypeScript client, as `sluice/client`: named exports only. Works against a node over HTTP; nothing of the node itself comes with it.

import { Consumer } from './consumer.js'
import type { ConsumerOptions } from './consumer-options.js'
import type { ConsumerRecord } from './consumer-record.js'
import { HttpTransport } from './http-transport.js'
import { type PartitionReaderOptions, readPartition } from './partition-reader.js'
import { Producer, type ProducerOptions } from './producer.js'
import { Worker, type WorkerOptions, type WorkMessage } from './worker.js'

export { type ErrorCode, SluiceError } from '../base/errors.js'
export type { Consumer } from './consumer.js'
export type { ConsumerBatch, ConsumerOptions } from './consumer-options.js'
export type { ConsumerHeader, ConsumerRecord } from './consumer-record.js'
export type { AssignedPartition, OffsetToCommit } from './group-session.js'
export type { PartitionReaderOptions } from './partition-reader.js'
export type { OutgoingRecord, Producer, ProducerOptions, RecordPosition } from './producer.js'
export { GiveUp, type Worker, type WorkerOptions, type WorkMessage } from './worker.js'

export interface ClientOptions {
  /** Default http://127.0.0.1:7883. Certificates of your own: NODE_EXTRA_CA_CERTS. */
  readonly url?: string
  readonly token?: string
}

export class SluiceClient {
  private readonly transport: HttpTransport

  /** @throws TypeError when the URL is not one of http or https. */
  constructor(options: ClientOptions = {}) {
    this.transport = new HttpTransport(options)
  }

  /** A member of a consumer group; joins when its loop begins. */
  consumer(options: ConsumerOptions): Consumer {
    return new Consumer(this.transport, options)
  }

  /** Batches of one partition, from a place that the program keeps. */
  readPartition(options: PartitionReaderOptions): AsyncGenerator<readonly ConsumerRecord[], void, undefined> {
    return readPartition(this.transport, options)
  }

  producer(options: ProducerOptions): Producer {
    return new Producer(this.transport, options)
  }

  /** Begins to work on the messages of a queue. */
  worker(options: WorkerOptions, handler: (message: WorkMessage) => unknown): Worker {
    return new Worker(this.transport, options, handler)
  }

  /** Closes idle connections. Close consumers, producers and workers first. */
  close(): void {
    this.transport.close()
  }
}
