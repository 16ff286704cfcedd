// The public API: a node inside another program. Everything else in src/ may change from one version to the next.

export { ERROR_CODES, type ErrorCode, SluiceError } from './base/errors.js'
export { filterCovers } from './base/filter-cover.js'
export { Logger, type LogLevel } from './base/logger.js'
export { topicFilterProblem, topicMatches, topicNameProblem } from './base/topic-filter.js'
export { type ConfigSource, loadValidConfig } from './config/load.js'
export type { Config } from './config/schema.js'
export type { DeviceNumbers, DevicesPort, LineNumbers } from './http/routes/devices.js'
export type { NumberedBy } from './mqtt/numbered-publishes.js'
export {
  type NodeConnectionOptions,
  type NodeMessage,
  type NodeOptions,
  type NodePublish,
  type RunningNode,
  startNode,
} from './node.js'
