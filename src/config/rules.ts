// What must hold between keys: names that are unique and exist, addresses that do not clash, doors that have a lock, limits that fit
// together. Works on a configuration that may still be incomplete, since all problems are told at once.

import { filterCovers } from '../base/filter-cover.js'
import { formatAddress, isLoopback, type ListenAddress } from './address.js'
import { checkFirmware } from './firmware-rules.js'
import type { KeyPath } from './problem.js'
import { NAME, REPUBLISHED, UNROUTED } from './schema/names.js'
import { deadLetterOf } from './schema/queue.js'
import type { WrittenConfig } from './schema.js'
import { formatSize } from './units.js'
import { checkUpstreams } from './upstream-rules.js'

export interface RuleReport {
  error(path: KeyPath, what: string, fix?: string): void
  warning(path: KeyPath, what: string, fix?: string): void
  /** Whether the key was written, well or badly. */
  isWritten(path: KeyPath): boolean
}

export function checkRules(config: WrittenConfig, report: RuleReport): void {
  checkDoors(config, report)
  checkAddresses(config, report)
  checkLimits(config, report)
  checkNames(config, report)
  checkFilters(config, report)
  checkRepublished(config, report)
  checkUpstreams(config, report)
  checkQueues(config, report)
  checkFirmware(config, report)
}

function checkRepublished({ mirrors, stream, queue, upstream }: WrittenConfig, report: RuleReport): void {
  if (mirrors.republish.length === 0) return
  const taken = (path: KeyPath): void =>
    report.error(
      path,
      `is "${REPUBLISHED}", the name of a built-in stream where mirrors.republish is set`,
      'choose another',
    )
  for (const [i, { name }] of stream.entries()) if (name === REPUBLISHED) taken(['stream', i, 'name'])
  for (const [i, one] of queue.entries()) if (one.deadLetter === REPUBLISHED) taken(['queue', i, 'dead_letter'])
  for (const [i, one] of upstream.entries()) if (one.deadLetter === REPUBLISHED) taken(['upstream', i, 'dead_letter'])
}

function checkDoors(config: WrittenConfig, report: RuleReport): void {
  checkMqttDoors(config, report)
  checkHttpDoors(config, report)
}

function checkMqttDoors({ mqtt }: WrittenConfig, report: RuleReport): void {
  const isTls = ({ protocol }: ListenAddress): boolean => protocol === 'mqtts' || protocol === 'wss'
  const hasTls = mqtt.listen.some(isTls)
  const byCertificate = mqtt.requireClientCert
  const open = mqtt.listen.filter((address) => !isLoopback(address.host) && !(isTls(address) && byCertificate))
  if (open.length > 0 && !report.isWritten(['mqtt', 'password_file']))
    report.error(
      ['mqtt', 'listen'],
      `has ${open.map(formatAddress).join(', ')}, open to others without a password`,
      'set mqtt.password_file (make the file with: sluice passwd -c passwd USER) or listen on 127.0.0.1',
    )
  for (const key of ['cert_file', 'key_file', 'ca_file', 'crl_file'])
    if (report.isWritten(['mqtt', key]) && !hasTls)
      report.error(['mqtt', key], 'has no effect, since no address begins with mqtts:// or wss://', 'remove it')
  for (const key of hasTls ? ['cert_file', 'key_file'] : [])
    if (!report.isWritten(['mqtt', key]))
      report.error(['mqtt', key], 'is missing, and mqtts:// and wss:// need it', 'name the PEM file')
  if (byCertificate && !report.isWritten(['mqtt', 'ca_file']))
    report.error(['mqtt', 'ca_file'], 'is missing, and require_client_cert needs it', 'name the PEM file')
  else if (report.isWritten(['mqtt', 'crl_file']) && !report.isWritten(['mqtt', 'ca_file']))
    report.error(['mqtt', 'ca_file'], 'is missing, and crl_file needs it', 'name the PEM file')
}

function checkHttpDoors({ http }: WrittenConfig, report: RuleReport): void {
  const open = http.listen.filter(({ protocol, host }) => protocol === 'http' && !isLoopback(host))
  if (open.length > 0)
    report.warning(
      ['http', 'listen'],
      `has ${open.map(formatAddress).join(', ')}, open to others without TLS: tokens and records can be read on the way, and the node starts only once it has a token`,
      'use https:// with cert_file and key_file, or listen on 127.0.0.1 behind a proxy with TLS',
    )
  const hasTls = http.listen.some(({ protocol }) => protocol === 'https')
  for (const [key, partner] of [
    ['cert_file', 'key_file'],
    ['key_file', 'cert_file'],
  ]) {
    const written = report.isWritten(['http', key])
    if (hasTls && !written)
      report.error(['http', key], 'is missing, and https:// needs it', 'name the PEM file, or listen with http://')
    else if (written && !hasTls)
      report.error(['http', key], 'has no effect, since no address begins with https://', 'use https:// or remove it')
    else if (written && !report.isWritten(['http', partner]))
      report.error(['http', key], `needs ${partner}`, 'set both')
  }
}

function checkAddresses(config: WrittenConfig, report: RuleReport): void {
  const all: { path: KeyPath; address: ListenAddress }[] = [
    ...config.mqtt.listen.map((address) => ({ path: ['mqtt', 'listen'], address })),
    ...config.http.listen.map((address) => ({ path: ['http', 'listen'], address })),
  ]
  for (const [i, { path, address }] of all.entries()) {
    const other = all.slice(0, i).find((earlier) => clash(earlier.address, address))
    if (other === undefined) continue
    report.error(
      path,
      `has ${formatAddress(address)}, which is taken by ${other.path.join('.')}`,
      'choose another port',
    )
  }
}

function clash(a: ListenAddress, b: ListenAddress): boolean {
  if (a.port === 0 || a.port !== b.port) return false
  const hosts = [a.host, b.host].map((host) => (host === 'localhost' ? '127.0.0.1' : host))
  return hosts[0] === hosts[1] || hosts.includes('::')
}

function checkLimits({ mqtt, http, storage, stream }: WrittenConfig, report: RuleReport): void {
  const limits: readonly [path: KeyPath, value: number, container: string, room: number][] = [
    [['mqtt', 'max_packet_size'], mqtt.maxPacketSize, 'mqtt.max_pending_bytes', mqtt.maxPendingBytes],
    [['mqtt', 'max_packet_size'], mqtt.maxPacketSize, 'mqtt.max_unfinished_bytes', mqtt.maxUnfinishedBytes],
    [['mqtt', 'max_packet_size'], mqtt.maxPacketSize, 'storage.max_pending_bytes', storage.maxPendingBytes],
    [['mqtt', 'max_packet_size'], mqtt.maxPacketSize, 'storage.segment_size', storage.segmentSize],
    [['http', 'max_body_size'], http.maxBodySize, 'storage.max_pending_bytes', storage.maxPendingBytes],
    [['storage', 'max_batch_bytes'], storage.maxBatchBytes, 'storage.segment_size', storage.segmentSize],
  ]
  for (const [path, value, container, room] of limits)
    if (value > room)
      report.error(
        path,
        `(${formatSize(value)}) is more than ${container} (${formatSize(room)}) has room for`,
        'lower it or raise the other',
      )
  checkBallast(storage, stream.length, report)
  const kept = stream.reduce((sum, { retention }) => sum + retention.maxBytes, 0)
  if (storage.diskBudget !== undefined && kept > storage.diskBudget)
    report.warning(
      ['storage', 'disk_budget'],
      `(${formatSize(storage.diskBudget)}) is less than the retention.max_bytes of all streams together (${formatSize(kept)}); streams will lose their oldest records earlier than they say`,
    )
}

/** What opening the databases of a node writes, besides the segment that a killed one left unsealed. */
const OPENING_BYTES = 1024 * 1024

/** The ballast that is held: none where none is wanted, otherwise never less than what a start on a full disk takes. */
export function heldBallast(storage: WrittenConfig['storage'], streams: number): number {
  const { ballastSize } = storage
  return ballastSize === 0 ? 0 : Math.max(ballastSize, neededBallast(storage, streams))
}

function checkBallast(storage: WrittenConfig['storage'], streams: number, report: RuleReport): void {
  const { ballastSize } = storage
  const needed = neededBallast(storage, streams)
  if (ballastSize >= needed) return
  const segment = formatSize(largestSegment(storage, streams))
  report.warning(
    ['storage', 'ballast_size'],
    ballastSize === 0
      ? `(0B) has no room for a segment (${segment}): a node that is killed while its disk is full cannot start again until somebody makes room`
      : `(${formatSize(ballastSize)}) has no room for a segment (${segment}), which a node that was killed while its disk is full needs to start again; ${formatSize(needed)} are held`,
    `set it to ${formatSize(needed)} or more, or lower storage.segment_size`,
  )
}

function neededBallast(storage: WrittenConfig['storage'], streams: number): number {
  return Math.ceil((largestSegment(storage, streams) + OPENING_BYTES) / OPENING_BYTES) * OPENING_BYTES
}

function largestSegment({ segmentSize, memoryBudget }: WrittenConfig['storage'], streams: number): number {
  // See Log: a stream holds the memtables of two segments.
  return Math.min(segmentSize, Math.ceil(memoryBudget / (2 * Math.max(streams, 1)) / 1024) * 1024)
}

function checkNames({ stream, upstream, queue }: WrittenConfig, report: RuleReport): void {
  for (const [key, entries] of Object.entries({ stream, upstream, queue })) {
    const seen = new Set<string>()
    for (const [i, { name }] of entries.entries()) {
      if (name === undefined) continue
      // Case does not distinguish them: names become folders and environment variables.
      const folded = name.toLowerCase().replaceAll('-', '_')
      if (seen.has(folded))
        report.error([key, i, 'name'], `"${name}" is taken by an earlier [[${key}]]`, 'give it another name')
      seen.add(folded)
    }
  }
}

function checkFilters({ stream }: WrittenConfig, report: RuleReport): void {
  for (const [i, { topics }] of stream.entries()) {
    for (const filter of topics) {
      const earlier = stream.slice(0, i).find((other) => other.topics.some((cover) => filterCovers(cover, filter)))
      if (earlier === undefined) continue
      const what = `has "${filter}", which never matches: stream "${earlier.name}" stands before it and takes all of that`
      report.warning(['stream', i, 'topics'], what, 'put the narrower stream first')
    }
  }
}

function checkQueues({ queue, stream }: WrittenConfig, report: RuleReport): void {
  const streams = stream.map(({ name }) => name).filter((name) => name !== undefined)
  for (const [i, each] of queue.entries()) {
    if (each.stream === undefined) continue
    if (!streams.includes(each.stream) && each.stream !== UNROUTED)
      report.error(
        ['queue', i, 'stream'],
        `names the stream "${each.stream}", which does not exist`,
        `there are ${[...streams, UNROUTED].join(', ')}`,
      )
    if (each.deadLetter === each.stream)
      report.error(['queue', i, 'dead_letter'], 'is the stream of the queue itself', 'name another')
    if (each.deadLetter === UNROUTED)
      report.error(['queue', i, 'dead_letter'], `is "${UNROUTED}", the name of a built-in stream`, 'name another')
    if (each.deadLetter === undefined && !NAME.test(deadLetterOf(each.stream)))
      report.error(
        ['queue', i, 'dead_letter'],
        'is missing: the name of the stream is too long to add "-dead"',
        'add it',
      )
  }
}
