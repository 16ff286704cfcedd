// A [[firmware]] entry of type mqtt-sn as a gateway.

import type { Config } from '../../src/index.js'
import { type Gateway, startGateway } from './gateway.js'
import type { GatewayHost } from './gateway-options.js'

export type MqttSnLineHost = Pick<GatewayHost, 'node' | 'devices' | 'registry' | 'logger'>

/** @throws SluiceError ADDRESS_IN_USE, INVALID_CONFIG. */
export function startMqttSnLine(entry: Config['firmware'][number], host: MqttSnLineHost): Promise<Gateway> {
  const { topicPrefix, authentication } = entry
  const options = {
    ...entry,
    advertiseMs: entry.advertiseInterval,
    retryMs: entry.retryInterval,
    predefined: new Map(entry.predefinedTopics.map(({ id, topicName }) => [id, topicName])),
    maxByteRatePerAddress: entry.maxByteRatePerAddress,
    maxMessageSize: entry.maxFrameSize,
  }
  return startGateway(options, {
    ...host,
    authenticated: authentication,
    anonymousPrefix: topicPrefix.includes('{device}') ? null : topicPrefix,
  })
}
