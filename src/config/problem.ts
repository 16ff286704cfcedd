// What is wrong with a configuration: where, what, and how to mend it. All problems are gathered and told at once.

export interface Problem {
  /** A warning does not keep the node from starting. */
  readonly severity: 'error' | 'warning'
  /** `sluice.toml:12`, `sluice.toml:12:5`, `SLUICE_MQTT_LISTEN`; empty where the problem is one of a default or of the whole. */
  readonly where: string
  /** `mqtt.listen`, `stream.telemetry.retention.max_bytes`; empty for syntax errors. */
  readonly key: string
  /** What follows the key in a sentence. */
  readonly what: string
  /** An instruction. */
  readonly fix?: string
}

/** Keys and, in arrays of tables, positions. */
export type KeyPath = readonly (string | number)[]

/** `sluice.toml:12: mqtt.max_packet_size is "12X", which is not a size; write "64KB" …` */
export function formatProblem({ severity, where, key, what, fix }: Problem): string {
  const parts = [where, severity === 'warning' ? 'warning' : '', [key, what].filter((part) => part !== '').join(' ')]
  return parts.filter((part) => part !== '').join(': ') + (fix === undefined ? '' : `; ${fix}`)
}
