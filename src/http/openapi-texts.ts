// What openapi.ts cannot read off a route: what each is for, and the fields of its body and answer. Keyed as the routes are; a test holds the
// two against each other.

export interface OperationText {
  readonly summary: string
  /** Fields of the JSON body: name, type, and `?` where it may be left out. */
  readonly body?: Readonly<Record<string, FieldText>>
  /** Fields of the JSON answer that are always there. */
  readonly answer?: Readonly<Record<string, FieldText>>
  /** Media types of the answer, where JSON is not all. */
  readonly types?: readonly string[]
  readonly status?: number
}

/** `string`, `integer`, `boolean`, `object`, `array of …`; with `?` at the end where it may be left out. */
export type FieldText = string

const JSON_TYPE = 'application/json'
const READ_TYPES = [JSON_TYPE, 'application/x-ndjson', 'application/vnd.sluice.batches']
const RECEIPTS = { receipts: 'array of string' }
const COUNTED = { stale: 'array of string' }
const QUEUE = {
  stream: 'string',
  group: 'string',
  backlog: 'integer',
  in_flight: 'integer',
  waiting: 'integer',
  max_attempts: 'integer?',
  dead_letter: 'string?',
}
const STREAM = { name: 'string', topics: 'array of string', partitions: 'array of object', bytes: 'integer' }

export const OPERATIONS: Readonly<Record<string, OperationText>> = {
  'GET /v1/streams': { summary: 'Lists the streams', answer: { streams: 'array of object' } },
  'GET /v1/streams/{stream}': { summary: 'Describes a stream', answer: STREAM },
  'GET /v1/streams/{stream}/partitions/{partition}/records': {
    summary: 'Reads a partition from an offset; waits for new records, or follows them as NDJSON',
    answer: {
      records: 'array of object',
      next_offset: 'integer',
      log_start_offset: 'integer',
      high_watermark: 'integer',
    },
    types: READ_TYPES,
  },
  'POST /v1/streams/{stream}/partitions/{partition}/verify': {
    summary: 'Checks what is stored, a stretch at a time',
    answer: { next_offset: 'integer' },
  },
  'GET /v1/streams/{stream}/partitions/{partition}/query': {
    summary: 'Finds records by time and MQTT topic, a stretch at a time',
    answer: {
      records: 'array of object',
      next_offset: 'integer',
      end_offset: 'integer',
      scanned_records: 'integer',
      scanned_bytes: 'integer',
      done: 'boolean',
    },
  },
  'POST /v1/streams/{stream}/records': {
    summary:
      'Publishes records; answers when all are on disk. With producer_id and sequence a request sent again is stored once',
    body: { records: 'array of object', producer_id: 'string?', producer_epoch: 'integer?', sequence: 'integer?' },
    answer: { records: 'array of object' },
  },
  'GET /v1/groups': { summary: 'Lists the consumer groups', answer: { groups: 'array of object' } },
  'GET /v1/groups/{group}': {
    summary: 'Describes a group: its members, committed offsets, lag',
    answer: {
      group: 'string',
      state: 'string',
      generation: 'integer',
      members: 'array of object',
      offsets: 'array of object',
    },
  },
  'DELETE /v1/groups/{group}': { summary: 'Forgets a group without members, and its offsets', answer: {} },
  'POST /v1/groups/{group}/members': {
    summary: 'Joins a group, or joins it again; answers once partitions are shared out',
    body: {
      streams: 'array of string',
      member_id: 'string?',
      instance_id: 'string?',
      member_name: 'string?',
      session_timeout_ms: 'integer?',
      rebalance_timeout_ms: 'integer?',
      assignment: 'string?',
      offset_reset: 'string?',
    },
    answer: { member_id: 'string', generation: 'integer', assignments: 'array of object', fetch_id: 'integer' },
  },
  'GET /v1/groups/{group}/members/{member}/records': {
    summary: 'Reads on from the partitions of a member; waits for new records, or follows them as NDJSON',
    answer: {
      records: 'array of object',
      partitions: 'array of object',
      generation: 'integer',
      fetch_id: 'integer',
    },
    types: READ_TYPES,
  },
  'POST /v1/groups/{group}/members/{member}/heartbeat': {
    summary: 'Keeps a member alive',
    body: { generation: 'integer?', instance_id: 'string?' },
    answer: { generation: 'integer' },
  },
  'DELETE /v1/groups/{group}/members/{member}': { summary: 'Leaves a group', answer: {} },
  'POST /v1/groups/{group}/offsets': {
    summary: 'Commits offsets; they are on disk when it answers',
    body: { offsets: 'array of object', member_id: 'string?', generation: 'integer?', instance_id: 'string?' },
    answer: {},
  },
  'GET /v1/queues': { summary: 'Lists the work queues', answer: { queues: 'array of object' } },
  'GET /v1/queues/{stream}/{group}': { summary: 'Describes a work queue', answer: QUEUE },
  'DELETE /v1/queues/{stream}/{group}': { summary: 'Forgets a work queue', answer: {} },
  'POST /v1/queues/{stream}/{group}/receive': {
    summary: 'Takes messages for a while',
    body: {
      max_messages: 'integer?',
      max_bytes: 'integer?',
      visibility_timeout_ms: 'integer?',
      wait_ms: 'integer?',
      order: 'string?',
      start: 'string?',
    },
    answer: { messages: 'array of object', lost: 'array of object' },
  },
  'POST /v1/queues/{stream}/{group}/ack': {
    summary: 'Messages are done; on disk when it answers',
    body: RECEIPTS,
    answer: { acked: 'integer', ...COUNTED },
  },
  'POST /v1/queues/{stream}/{group}/nack': {
    summary: 'Gives messages back, or gives them up',
    body: { ...RECEIPTS, delay_ms: 'integer?', reason: 'string?', dead_letter: 'boolean?' },
    answer: { nacked: 'integer', ...COUNTED },
  },
  'POST /v1/queues/{stream}/{group}/extend': {
    summary: 'Keeps messages for longer',
    body: { ...RECEIPTS, visibility_timeout_ms: 'integer' },
    answer: { extended: 'integer', ...COUNTED },
  },
  'POST /v1/queues/{stream}/{group}/redrive': {
    summary: 'Brings dead letters back',
    body: { max_messages: 'integer?' },
    answer: { redriven: 'integer', gone: 'integer' },
  },
  'POST /v1/bridges/{bridge}/messages': {
    summary:
      'Publishes for devices behind a bridge, each message known again by the numbers of its device; says what became of each',
    body: { number: 'integer', messages: 'array of object' },
    answer: { messages: 'array of object' },
  },
  'GET /v1/bridges/{bridge}/tables/{table}': {
    summary: 'Reads the facts a bridge keeps here, a stretch at a time',
    answer: { rows: 'array of object', done: 'boolean' },
  },
  'POST /v1/bridges/{bridge}/tables/{table}': {
    summary: 'Writes such facts: all or nothing, on disk when it answers',
    body: { writes: 'array of object' },
  },
  'POST /v1/bridges/{bridge}/devices': {
    summary: 'Says how the devices behind a bridge are',
    body: { devices: 'array of object', lines: 'array of object' },
  },
  'POST /v1/bridges/{bridge}/undeliverable': {
    summary: 'Enters a message in the ledger that is on its way to a device and cannot be delivered to it',
    body: { client: 'string', packet_id: 'integer' },
  },
  'GET /v1/bridges/{bridge}/lease': {
    summary:
      "Has the bridge's name for as long as the connection lives (Upgrade: sluice-bridge); what is sent over it comes back",
  },
  'GET /v1/bridges/{bridge}/mqtt': {
    summary: 'Goes on as an MQTT connection that needs no login (Upgrade: sluice-bridge)',
  },
  'GET /v1/devices': {
    summary: 'Says how devices behind the firmware bridge are',
    answer: { devices: 'array of object', lines: 'array of object' },
  },
  'GET /v1/devices/{device}': {
    summary: 'Says how a device behind the firmware bridge is',
    answer: { devices: 'array of object' },
  },
  'GET /v1/upstreams': { summary: 'Says how the upstreams are', answer: { upstreams: 'array of object' } },
  'GET /v1/upstreams/{upstream}': { summary: 'Says how an upstream is', answer: { name: 'string', state: 'string' } },
  'POST /v1/upstreams/{upstream}/pause': {
    summary: 'Pauses an upstream',
    answer: { name: 'string', state: 'string' },
  },
  'POST /v1/upstreams/{upstream}/resume': {
    summary: 'Resumes an upstream',
    answer: { name: 'string', state: 'string' },
  },
  'POST /v1/upstreams/{upstream}/rewind': {
    summary: 'Sends again from an offset or a time',
    body: {
      stream: 'string',
      partition: 'integer?',
      offset: 'integer?',
      timestamp_ms: 'integer?',
      dry_run: 'boolean?',
    },
    answer: { rewound: 'array of object' },
  },
  'GET /v1/origins': {
    summary: 'Lists the nodes that forward to this one',
    answer: { origins: 'array of object' },
  },
  'POST /v1/origins/{origin}/accept': {
    summary: 'Lets a node in again that was refused',
    answer: { node_id: 'string', connected: 'boolean' },
  },
  'GET /v1/ledger': {
    summary: 'Names what will never be delivered, and why',
    answer: { entries: 'array of object', total_entries: 'integer', total_records: 'integer' },
  },
  'GET /v1/tokens': { summary: 'Lists the tokens', answer: { tokens: 'array of object' } },
  'POST /v1/tokens': {
    summary: 'Makes a token, and tells it once',
    body: { name: 'string', scopes: 'array of string' },
    answer: { name: 'string', scopes: 'array of string', token: 'string' },
    status: 201,
  },
  'DELETE /v1/tokens/{token_name}': { summary: 'Revokes a token', answer: {} },
  'GET /healthz': {
    summary: 'Whether the node does its work: 503 with reasons while it does not',
    answer: { status: 'string', reasons: 'array of string' },
  },
  'GET /metrics': { summary: 'Metrics in the text format of Prometheus', types: ['text/plain'] },
  'GET /openapi.json': { summary: 'This description', answer: { openapi: 'string', info: 'object', paths: 'object' } },
}
