// The parts of the MQTT side of a node, made and put in touch with each other, with what the state store has kept for them. Used by the front, which
// starts and stops them.

import type { StateStore } from '../state/types.js'
import type { AccessKind, Who } from './acl-file.js'
import { whose } from './connections.js'
import { DeliveryHost } from './delivery-host.js'
import { Door } from './door.js'
import { FanOut } from './fan-out.js'
import { IncidentLog } from './incident-log.js'
import type { MqttFrontOptions, MqttStats } from './mqtt-front-options.js'
import type { MqttLimits } from './mqtt-limits.js'
import { ProgramPublishes } from './program-publishes.js'
import { PublishPath } from './publish-path.js'
import { handshakePrefix, StoredHandshakes } from './received-messages.js'
import { RetainedMessages, type RetainedValue } from './retained-messages.js'
import { Router } from './router.js'
import type { Session } from './session.js'
import { SessionRegistry } from './session-registry.js'
import { SessionStore } from './session-store.js'
import { type SharedGroupRow, SharedGroups } from './shared-groups.js'
import { StoredDelivery } from './stored-delivery.js'
import type { Subscriber } from './subscriber.js'
import { SubscriptionRequests } from './subscription-requests.js'
import { SysTopics } from './sys-topics.js'
import { TopicTree } from './topic-tree.js'
import { Wills } from './wills.js'

const SHARED_TABLE = 'mqtt-shared'
const LAYOUT_TABLE = 'mqtt-layout'

interface Kept {
  readonly retained: RetainedMessages
  readonly store: SessionStore
  readonly handshakePrefixes: ReadonlySet<string>
  readonly sharedGroups: readonly SharedGroupRow[]
}

export class MqttParts {
  readonly retained: RetainedMessages
  readonly store: SessionStore
  readonly fanOut: FanOut
  readonly router: Router
  readonly publishPath: PublishPath
  readonly stored: StoredDelivery
  readonly programs: ProgramPublishes
  readonly sessions: SessionRegistry
  readonly groups: SharedGroups
  readonly sys: SysTopics
  readonly subscriptions: SubscriptionRequests
  readonly wills: Wills
  readonly incidents: IncidentLog
  readonly door: Door
  /** Whether the access rules allow it. */
  readonly may: (who: Who & { readonly trusted?: boolean }, kind: AccessKind, topic: string) => boolean

  private constructor(options: MqttFrontOptions, limits: MqttLimits, kept: Kept, stats: () => MqttStats) {
    const { clock, logger, state } = options
    const { retained, store, handshakePrefixes, sharedGroups } = kept
    this.retained = retained
    this.store = store
    this.may = (who, kind, topic) => who.trusted === true || (options.authorize?.(who, kind, topic) ?? true)
    this.incidents = new IncidentLog(logger, clock)
    this.door = new Door(limits, clock, this.incidents)
    this.router = new Router(options.catalog, options.routes, limits.cachedTopics, options.republished)
    const tree = new TopicTree<Subscriber>()
    const mayReceive = (session: Session, topic: string) => this.may(session, 'receive', topic)
    this.fanOut = new FanOut(tree, mayReceive)
    this.stored = new StoredDelivery(this.router, this.fanOut, (error) =>
      logger.error('the end of a stream could not be read for subscribers', { error }),
    )
    this.publishPath = new PublishPath(this.fanOut, retained, this.stored)
    this.programs = new ProgramPublishes(this.router, this.publishPath, retained, clock)
    const host = new DeliveryHost({
      ...{ fanOut: this.fanOut, retained, stored: this.stored, logger, mayReceive },
      maxInflight: limits.maxInflightPerClient,
      save: (session) => this.sessions.save(session),
      onOvertaken: options.onOvertaken,
    })
    this.groups = new SharedGroups(
      {
        table: state.table(SHARED_TABLE),
        tree,
        stored: this.stored,
        host,
        maxGroups: limits.maxSharedGroups,
      },
      sharedGroups,
    )
    const onSaveError = (error: unknown) => logger.error('session state could not be stored', { error })
    this.sessions = new SessionRegistry({
      tree,
      groups: this.groups,
      store,
      handshakes: new StoredHandshakes(this.router.streams, (prefix) => handshakePrefixes.has(prefix)),
      stored: this.stored,
      pumpHost: host,
      maxOfflineInMemory: limits.maxOfflineSessionsInMemory,
      maxDurable: limits.maxDurableSessions,
      onSaveError,
    })
    this.sys = new SysTopics({
      stats,
      more: options.sysValues,
      deliver: (mqttTopic, payload) => this.deliverUnstored(mqttTopic, payload),
      version: options.version ?? 'sluice',
      clock,
    })
    this.subscriptions = new SubscriptionRequests({
      sys: this.sys,
      sessions: this.sessions,
      groups: this.groups,
      retained,
      maxSubscriptions: limits.maxSubscriptionsPerClient,
      maxReplaysPerClient: limits.maxReplaysPerClient,
      maxReplays: limits.maxReplays,
      partition: (name) => this.stored.partition(name),
      maySubscribe: (session, filter) => this.may(session, 'subscribe', filter),
      refused: (gate, refusal) => this.incidents.warn('subscription refused', { ...whose(gate), ...refusal }),
      mayReceive,
      mayPublish: (who, topic) => this.may(who, 'publish', topic),
    })
    this.wills = new Wills({
      table: state.table('mqtt-wills'),
      publish: (message) => this.programs.publish(message),
      mayPublish: (who, topic) =>
        !('problem' in this.router.resolvePublishable(topic)) && this.may(who, 'publish', topic),
      clock,
      logger,
    })
  }

  /** @throws SluiceError UNKNOWN_STREAM_OR_PARTITION. */
  static async open(options: MqttFrontOptions, limits: MqttLimits, stats: () => MqttStats): Promise<MqttParts> {
    const { state, logger } = options
    const table = state.table<RetainedValue>('mqtt-retained')
    const retained = await RetainedMessages.open(table, limits.maxRetainedMessages, logger)
    const handshakePrefixes = new Set<string>()
    const store = await SessionStore.open(state.table('mqtt-sessions'), (clientId, generation) =>
      handshakePrefixes.add(handshakePrefix(clientId, generation)),
    )
    const sharedGroups: SharedGroupRow[] = []
    for await (const [, row] of state.table<SharedGroupRow>(SHARED_TABLE).entries()) sharedGroups.push(row)
    return new MqttParts(options, limits, { retained, store, handshakePrefixes, sharedGroups }, stats)
  }

  /** See MqttFront. */
  deliverUnstored(mqttTopic: string, payload: Buffer): void {
    const topic = Buffer.from(mqttTopic)
    const entry = this.router.resolve(topic, 0, topic.length)
    if (!('problem' in entry)) this.fanOut.deliver(entry, 0, payload, 0, payload.length)
  }

  /** Sessions and groups that are kept are given what the configuration has added since the last start. */
  async adoptPartitions(state: StateStore): Promise<void> {
    await this.groups.snapshot()()
    const table = state.table<string>(LAYOUT_TABLE)
    const { layout } = this.stored
    if ((await table.get('last')) === layout) return
    await this.store.adopt((filter) => this.stored.endsFor(filter))
    await table.put('last', layout)
  }
}
