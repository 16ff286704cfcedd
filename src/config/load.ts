// From a TOML file and the environment to a checked Config. Relative paths count from the folder of the file when they are written in
// it, else from the working directory. Called by the commands; the node gets values.

import { basename, dirname, resolve } from 'node:path'
import { parse, TomlError } from 'smol-toml'
import { messageOf, SluiceError } from '../base/errors.js'
import { applyEnvironment, type Environment } from './environment.js'
import type { Fields } from './fields.js'
import { fileProblem, folderProblem, readTextFile } from './files.js'
import { PRESETS, withPreset } from './presets.js'
import { formatProblem, type KeyPath, type Problem } from './problem.js'
import { type RawTable, readTable } from './read-table.js'
import { checkRules, heldBallast } from './rules.js'
import { authenticatesUnasked } from './schema/firmware.js'
import { REPUBLISHED, UNROUTED, UPSTREAM_DEAD } from './schema/names.js'
import { deadLetterOf } from './schema/queue.js'
import { CONFIG_FIELDS, type Config, type StreamConfig, type WrittenConfig } from './schema.js'
import { TomlLines } from './toml-lines.js'
import { Unfit } from './unfit.js'
import { readTls, readUpstreamSecrets } from './upstream-secrets.js'

export interface ConfigSource {
  /** Path of the TOML file; without it, defaults and environment alone. */
  readonly file?: string
  /** The TOML, in place of the contents of `file`. */
  readonly text?: string
  readonly environment?: Environment
  /** Wins over `data_dir` of file and environment. */
  readonly dataDir?: string
}

export interface LoadedConfig {
  /** Null when there are errors among the problems. */
  readonly config: Config | null
  /** In the order of the file, what comes from elsewhere last. */
  readonly problems: readonly Problem[]
}

/** A stream that is there without being written: no MQTT topic leads to it. */
const builtInStream = (name: string): StreamConfig => ({
  name,
  topics: [],
  partitions: 1,
  key: 'topic',
  retention: { maxBytes: 64 * 1024 * 1024, maxAge: undefined, onFull: 'drop_oldest' },
  compression: 'none',
  lingerMs: 0,
})

const DEFAULT_STREAM = { name: 'mqtt', topics: ['#'] }

/** @throws SluiceError INVALID_CONFIG with all errors in its message, one a line. */
export function loadValidConfig(source: ConfigSource): Config {
  const { config, problems } = loadConfig(source)
  if (config !== null) return config
  const errors = problems.filter(({ severity }) => severity === 'error')
  throw new SluiceError('INVALID_CONFIG', errors.map(formatProblem).join('\n'), { problems: errors })
}

/** Whatever the source holds: problems are returned, not thrown. */
export function loadConfig(source: ConfigSource): LoadedConfig {
  const toml = source.text ?? (source.file === undefined ? '' : readTextFile(resolve(source.file)))
  const fileName = source.file === undefined ? '' : basename(source.file)
  const unusable = (where: string, { what, fix }: Unfit): LoadedConfig => ({
    config: null,
    problems: [{ severity: 'error', where, key: '', what, fix }],
  })
  if (toml instanceof Unfit) return unusable(source.file ?? '', toml)
  try {
    const raw = parse(toml, { integersAsBigInt: 'asNeeded' }) as RawTable
    return new Loading(source, raw, new TomlLines(toml)).result()
  } catch (error) {
    if (!(error instanceof TomlError)) throw error
    const what = messageOf(error).split('\n', 1)[0].replace('Invalid TOML document: ', 'is not TOML: ')
    const fix = 'nothing after this place was read'
    return unusable(`${fileName}:${error.line}:${error.column}`, new Unfit(what, fix))
  }
}

class Loading {
  private readonly problems: { readonly problem: Problem; readonly line: number }[] = []
  /** Keys that were set from the environment, with the variable. */
  private readonly variables = new Map<string, string>()
  private readonly file: string | null

  constructor(
    private readonly source: ConfigSource,
    private readonly raw: RawTable,
    private readonly lines: TomlLines,
  ) {
    this.file = source.file === undefined ? null : resolve(source.file)
  }

  result(): LoadedConfig {
    applyEnvironment(CONFIG_FIELDS, this.raw, this.source.environment ?? {}, {
      set: (path, variable) => this.variables.set(path.join('.'), variable),
      problem: (severity, variable, what, fix) => this.add({ severity, where: variable, key: '', what, fix }),
    })
    // After the environment, which may name streams too.
    if (this.raw['stream'] === undefined) this.raw['stream'] = [DEFAULT_STREAM]
    const report = (path: KeyPath, what: string, fix?: string): void => this.report('error', path, what, fix)
    const read = readTable(CONFIG_FIELDS, this.raw, [], {
      report,
      locate: (path, written, kind) => this.locate(path, written, kind),
      homes: homesOf(CONFIG_FIELDS),
    }) as WrittenConfig
    const isWritten = (i: number) => (key: string) => this.written(['upstream', i, key]) !== undefined
    const values = { ...read, upstream: read.upstream.map((one, i) => withPreset(one, isWritten(i))) }
    checkRules(values, {
      error: report,
      warning: (path, what, fix) => this.report('warning', path, what, fix),
      isWritten: (path) => this.written(path) !== undefined,
    })
    const config = this.complete(values)
    const problems = this.problems.sort((a, b) => a.line - b.line).map(({ problem }) => problem)
    return { config: problems.some(({ severity }) => severity === 'error') ? null : config, problems }
  }

  private report(severity: Problem['severity'], path: KeyPath, what: string, fix?: string): void {
    const line = this.lines.lineOf(path)
    const fileName = this.file === null ? '' : basename(this.file)
    const where = this.variables.get(path.join('.')) ?? (line === null ? fileName : `${fileName}:${line}`)
    this.add({ severity, where, key: this.display(path), what, fix }, line ?? undefined)
  }

  private add(problem: Problem, line = Number.MAX_SAFE_INTEGER): void {
    this.problems.push({ problem, line })
  }

  private locate(path: KeyPath, written: string, kind: 'file' | 'folder'): { absolute: string; problem?: Unfit } {
    const flag = path.join() === 'data_dir' ? this.source.dataDir : undefined
    const inFile = this.file !== null && this.written(path) !== undefined && !this.variables.has(path.join('.'))
    const folder = inFile && flag === undefined ? dirname(this.file as string) : ''
    const absolute = resolve(folder, flag ?? written)
    return { absolute, problem: kind === 'file' ? fileProblem(absolute) : folderProblem(absolute) }
  }

  /** What stands for a key in file or environment. */
  private written(path: KeyPath): unknown {
    let at: unknown = this.raw
    for (const key of path) {
      if (typeof at !== 'object' || at === null || !Object.hasOwn(at, key)) return undefined
      at = (at as RawTable)[key]
    }
    return at
  }

  /** `stream.telemetry.topics`: entries by their name where they have one. */
  private display(path: KeyPath): string {
    const shown = path.map((key, i) => {
      const name = typeof key === 'number' ? this.written([...path.slice(0, i + 1), 'name']) : undefined
      return typeof name === 'string' && name !== '' ? name : key
    })
    return shown.join('.')
  }

  /** Fills in what the absence of a key implies. */
  private complete(values: WrittenConfig): Config {
    const everyStream = values.stream.map(({ name }) => name)
    const upstream = values.upstream.map((one, i) => ({
      ...one,
      streams: one.streams.length === 0 ? everyStream : one.streams,
      limits: one.preset === undefined ? {} : PRESETS[one.preset].limits,
      ...readUpstreamSecrets(one, (key, what, fix) => this.report('error', ['upstream', i, key], what, fix)),
    }))
    const { certFile, keyFile } = values.http
    const { cert, key } =
      readTls({ certFile, keyFile }, (name, what, fix) => this.report('error', ['http', name], what, fix)) ?? {}
    // Read again by the node, which is given the paths so that it can do so more than once.
    readTls(values.mqtt, (name, what, fix) => this.report('error', ['mqtt', name], what, fix))
    const http = { ...values.http, tls: cert && key && { cert, key } }
    const queue = values.queue.map((one) => ({ ...one, deadLetter: one.deadLetter ?? deadLetterOf(one.stream) }))
    const refused = upstream.filter(({ type }) => type === 'mqtt').map((one) => one.deadLetter ?? UPSTREAM_DEAD)
    const deadLetters = new Set([...queue.map((one) => one.deadLetter), ...refused])
    for (const name of everyStream) deadLetters.delete(name)
    // Unrouted comes last: it takes what no other does.
    const republished = values.mirrors.republish.length === 0 ? [] : [REPUBLISHED]
    const stream = [...values.stream, ...[...deadLetters, ...republished, UNROUTED].map(builtInStream)]
    const firmware = values.firmware.map((one) => ({
      ...one,
      authentication: one.authentication ?? authenticatesUnasked(one),
    }))
    const storage = { ...values.storage, ballastSize: heldBallast(values.storage, values.stream.length) }
    return { ...values, firmware, http, queue, storage, stream, upstream }
  }
}

/** In which table each key of the schema belongs. */
function homesOf(fields: Fields, home = 'the top of the file', homes = new Map<string, string>()): Map<string, string> {
  for (const [key, field] of Object.entries(fields)) {
    homes.set(key, homes.has(key) ? `${homes.get(key)} or ${home}` : home)
    if (field.kind === 'entries') homesOf(field.fields, `[[${key}]]`, homes)
    else if (field.kind === 'table')
      homesOf(field.fields, home.startsWith('[') ? `${key} of ${home}` : `[${key}]`, homes)
  }
  return homes
}
