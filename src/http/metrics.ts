// A registry of numbers that are read when they are asked for: each part of a node offers `stats()`, and nothing counts twice. Rendered
// in Prometheus' text format, version 0.0.4.

export type Labels = Readonly<Record<string, string>>

export interface Sample {
  readonly labels?: Labels
  readonly value: number
}

export interface Metric {
  /** Prometheus' rules: base unit last, counters end in _total. */
  readonly name: string
  readonly help: string
  readonly type: 'counter' | 'gauge'
  collect(): number | Iterable<Sample>
}

export function gauge(name: string, help: string, collect: Metric['collect']): Metric {
  return { name, help, type: 'gauge', collect }
}

export function counter(name: string, help: string, collect: Metric['collect']): Metric {
  return { name, help, type: 'counter', collect }
}

export class MetricsRegistry {
  private readonly metrics = new Map<string, Metric>()

  /** @throws TypeError for a name that is not valid or is taken. */
  register(...metrics: readonly Metric[]): this {
    for (const metric of metrics) {
      if (!/^[a-z][a-z0-9_]*$/.test(metric.name)) throw new TypeError(`not a metric name: ${metric.name}`)
      if (this.metrics.has(metric.name)) throw new TypeError(`metric ${metric.name} is registered twice`)
      this.metrics.set(metric.name, metric)
    }
    return this
  }

  render(): string {
    return [...this.metrics.values()].map(renderMetric).join('')
  }
}

function renderMetric({ name, help, type, collect }: Metric): string {
  const collected = collect()
  const samples = typeof collected === 'number' ? [{ value: collected }] : [...collected]
  const lines = samples.map(({ labels, value }: Sample) => `${name}${labelText(labels)} ${valueText(value)}\n`)
  return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${lines.join('')}`
}

function labelText(labels: Labels = {}): string {
  const parts = Object.entries(labels).map(([name, value]) => `${name}="${value.replace(/[\\"\n]/g, escapeCharacter)}"`)
  return parts.length === 0 ? '' : `{${parts.join(',')}}`
}

function escapeCharacter(character: string): string {
  return character === '\n' ? '\\n' : `\\${character}`
}

function valueText(value: number): string {
  if (Number.isFinite(value)) return String(value)
  return Number.isNaN(value) ? 'NaN' : value > 0 ? '+Inf' : '-Inf'
}
