#!/usr/bin/env node
// The `sluice` program. CommonJS, because loading an ES module already uses the thread pool, whose size must be set before: each
// stream's fdatasync holds one of its threads, and the default of four would let file reads wait for the disk.
import young = require('./young-generation.cjs')

process.env['UV_THREADPOOL_SIZE'] ??= '8'
young.holdYoungGeneration()
;(() => {
  const [major, minor] = process.versions.node.split('.').map(Number)
  if (major < 20 || (major === 20 && minor < 19)) {
    process.stderr.write(
      `sluice: needs Node.js 20.19 or newer; this is ${process.versions.node} (${process.execPath})\n`,
    )
    process.exit(1)
  }
  import('./main.js')
    .then(({ runProcess }) => runProcess())
    .catch((error: unknown) => {
      process.stderr.write(`sluice: cannot start: ${error instanceof Error ? error.message : String(error)}\n`)
      process.exit(1)
    })
})()
