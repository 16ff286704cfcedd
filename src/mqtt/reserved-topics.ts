// Topic names that begin with $ and are not for clients to publish to, as mosquitto draws the line [MQTT-4.7.2]. Used by the router.

/** Names of the node's own: figures, and what only stands in filters. */
const RESERVED = /^\$(SYS|share|stream)(\/|$)/
/** A bridge that is told nothing else reports its link here, retained and with a will; dashboards for mosquitto look for it. */
const BRIDGE_STATE = /^\$SYS\/broker\/connection\/[^/]+\/state$/

/** Whether only the node itself publishes there. */
export function isReserved(mqttTopic: string): boolean {
  return RESERVED.test(mqttTopic) && !isBridgeState(mqttTopic)
}

/** Whether a mosquitto bridge says there that it is connected (`1`) or not (`0`). */
export function isBridgeState(mqttTopic: string): boolean {
  return BRIDGE_STATE.test(mqttTopic)
}
