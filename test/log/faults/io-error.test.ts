import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Program, runProgram } from '../../helpers/program.js'
import { unlessSkipped } from '../../helpers/skip.js'
import { tempDir } from '../../helpers/temp-dir.js'
import { post } from '../../http/request-helper.js'
import { assertKept, Promised } from './written.js'

const RECORDS = '4000'
const WRITER = join(import.meta.dirname, 'writer.js')
/** One thread writes, so that strace's count, which is per thread, is the count of the process. */
const ENV = { UV_THREADPOOL_SIZE: '1' }
const SLUICE = join(import.meta.dirname, '..', '..', '..', 'src', 'cli', 'sluice.cjs')

const probe = await runProgram('strace', ['-qq', '-e', 'inject=fdatasync:error=EIO', '-o', '/dev/null', 'true'])
const whereFaultsCanBeInjected = unlessSkipped(
  test,
  probe.code === 0 ? null : 'failing a system call needs strace and the right to trace',
)

/** One call on exactly one path fails, once: as with a real disk, the next one may well succeed. */
interface Fault {
  readonly what: string
  readonly call: 'write' | 'fdatasync' | 'fsync'
  /** Which of the calls on this path, from 1. */
  readonly when: number
  /** Within the data directory. */
  readonly path: string
}

/** Runs `program` with the fault. `trace` shows afterwards that the call did fail. */
function withFault(
  { call, when, path }: Fault,
  directory: string,
  trace: string,
  program: readonly string[],
): string[] {
  const inject = `inject=${call}:error=EIO:when=${when}`
  return ['-f', '-qq', '-P', join(directory, path), '-e', `trace=${call}`, '-e', inject, '-o', trace, ...program]
}

async function runWriter(
  fault: Fault,
  promised: Promised,
): Promise<{ directory: string; code: number | null; said: string }> {
  const directory = join(tempDir(), 'data')
  const trace = join(tempDir(), 'trace')
  const program = [process.execPath, WRITER, directory, '1', RECORDS]
  const { code, stdout, stderr } = await runProgram('strace', withFault(fault, directory, trace, program), { env: ENV })
  assert.match(readFileSync(trace, 'utf8'), /EIO.*INJECTED/, 'the call was made, and failed')
  promised.hear(stdout)
  return { directory, code, said: stdout.slice(-500) + stderr }
}

const segment = (number: number, file: string): string => `streams/faulty/${String(number).padStart(12, '0')}${file}`

const FATAL: readonly Fault[] = [
  { what: 'syncing the first commit of a segment', call: 'fdatasync', when: 2, path: segment(2, '/000003.log') },
  { what: 'syncing a later commit', call: 'fdatasync', when: 3, path: segment(1, '/000003.log') },
  { what: 'writing the first bytes of a commit', call: 'write', when: 2, path: segment(2, '/000003.log') },
  { what: 'writing the middle of a commit', call: 'write', when: 5, path: segment(2, '/000003.log') },
  { what: 'writing the end of a commit', call: 'write', when: 12, path: segment(4, '/000003.log') },
  { what: 'syncing the header of a new segment', call: 'fdatasync', when: 1, path: segment(2, '/000003.log') },
  { what: 'syncing the directory of a new segment', call: 'fsync', when: 2, path: segment(2, '') },
  { what: 'syncing the state database', call: 'fdatasync', when: 2, path: 'state/000003.log' },
  { what: 'writing to the state database', call: 'write', when: 3, path: 'state/000003.log' },
  // What is written here is on the disk already, in another file; but a disk that fails is not to be trusted with what comes next.
  { what: 'syncing the index of a segment', call: 'fdatasync', when: 3, path: segment(3, '/000003.log') },
  { what: 'syncing the table of a segment', call: 'fdatasync', when: 1, path: segment(1, '/000005.ldb') },
  { what: 'writing the table of a segment', call: 'write', when: 3, path: segment(2, '/000005.ldb') },
  { what: 'removing a segment', call: 'fsync', when: 15, path: 'streams/faulty' },
]

for (const fault of FATAL) {
  whereFaultsCanBeInjected(`when ${fault.what} fails, the writer ends, and what was acked is there`, async () => {
    const promised = new Promised()
    const { directory, code, said } = await runWriter(fault, promised)
    assert.match(said, /^fatal STORAGE_FAILED .*Input\/output error|^fatal STORAGE_FAILED .*EIO/m)
    assert.is(code, 1)
    await assertKept(directory, promised)
    const next = await runProgram(process.execPath, [WRITER, directory, '2', '1000'], { env: ENV })
    assert.match(next.stdout, /^closed$/m, 'it goes on from there')
    promised.hear(next.stdout)
    await assertKept(directory, promised)
  })
}

whereFaultsCanBeInjected(
  'a node whose disk fails refuses the message and ends, non-zero, within a second',
  async () => {
    const fault: Fault = { what: '', call: 'fdatasync', when: 60, path: 'streams/mqtt/000000000001/000003.log' }
    const dataDir = join(tempDir(), 'data')
    const trace = join(tempDir(), 'trace')
    const command = withFault(fault, dataDir, trace, [process.execPath, SLUICE, 'serve', '--data', dataDir])
    const env = { ...ENV, SLUICE_MQTT_LISTEN: '127.0.0.1:0', SLUICE_HTTP_LISTEN: '127.0.0.1:0' }
    const node = new Program('strace', command, { env })
    const [ready] = await node.waitFor(/^sluice ready .*$/m, 'stdout')
    const address = /http:\/\/(\S+)/.exec(ready)?.[1] as string
    const publish = async (): Promise<number> =>
      (await post(address, '/v1/streams/mqtt/records', { topic: 't', value: 'x' })).status
    assert.is(await publish(), 200)
    let before = performance.now()
    // The connection may end before an answer does. Laying the log out in advance has synced it a few times as well.
    for (let i = 0; i < 60 && (await publish().catch(() => 0)) === 200; i++) before = performance.now()
    const { code } = await node.ended
    assert.ok(performance.now() - before < 1000, `it took ${performance.now() - before} ms`)
    assert.is(code, 1, node.stderr)
    assert.match(readFileSync(trace, 'utf8'), /INJECTED/)
  },
)

test.run()
