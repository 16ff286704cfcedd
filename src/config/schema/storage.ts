// [storage]: memory and disk.

import { bytes } from '../fields.js'

export const storageFields = {
  memory_budget: bytes({
    description: 'What all streams together may use for their write buffers.',
    default: '128MB',
    min: '1MB',
    max: '1TB',
  }),
  segment_size: bytes({
    description: 'Size of the pieces a stream is stored in, and removed in.',
    default: '16MB',
    min: '256KB',
    max: '64MB',
  }),
  max_pending_bytes: bytes({
    description: 'Bytes of records that may wait for their commit, per stream; beyond, publishers are held back.',
    default: '8MB',
    min: '1KB',
    max: '1GB',
  }),
  max_batch_bytes: bytes({
    description: 'Records are stored in batches of about this size; a larger record travels alone.',
    default: '64KB',
    min: '1KB',
    max: '1MB',
  }),
  tail_cache: bytes({
    description: 'What all streams together keep in memory of their newest records while somebody follows them.',
    default: '4MB',
    min: '0B',
    max: '1GB',
  }),
  disk_budget: bytes({
    description: 'Most bytes of disk for everything in data_dir. Default: what retention allows.',
    optional: true,
    min: '1MB',
    max: '1024TB',
  }),
  ballast_size: bytes({
    description:
      'Disk space held in reserve for a full disk: for reading, the ledger, and a restart, which needs a segment and a bit: never less is held. 0 holds none.',
    default: '20MB',
    min: '0B',
    max: '1GB',
  }),
}
