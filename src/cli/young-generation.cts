// V8's young generation, held at its first size, twice 1 MB. Left alone it grows to twice 16 MB under load and never gives them back; a broker leaves
// little alive, so that small ones cost no more. What is more, V8 frees the memory of Buffers when it collects the young generation, and where that is seldom,
// it goes through the whole heap for their sake: twenty times while a million records are forwarded, with it small twice.
//
// Its limit can be set on the command line of Node only, but V8 asks a flag by how much it grows each time it does.

import v8 = require('node:v8')

/** Call it first. Who sets its size in another way (`NODE_OPTIONS=--max-semi-space-size=16`) has that size. */
function holdYoungGeneration(): void {
  const options = [...process.execArgv, ...(process.env['NODE_OPTIONS'] ?? '').split(/\s+/)]
  if (options.some((option) => /^--(max|min)[-_]semi[-_]space[-_]size/.test(option))) return
  v8.setFlagsFromString('--semi-space-growth-factor=1')
}

export = { holdYoungGeneration }
