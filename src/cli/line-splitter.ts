// Cuts a stream of bytes into lines, without decoding them. A line ends at \n; a \r before it belongs to the line end.

import { SluiceError } from '../base/errors.js'

const NEWLINE = 10
const CARRIAGE_RETURN = 13

/**
 * @param maxLineBytes A longer line is an error, rather than gathered in memory.
 * @returns the lines that each chunk completed, empty ones included; a last one without line end counts.
 */
export async function* linesOf(chunks: AsyncIterable<Buffer | string>, maxLineBytes: number): AsyncGenerator<Buffer[]> {
  let rest: Buffer = Buffer.alloc(0)
  for await (const chunk of chunks) {
    const bytes = Buffer.concat([rest, typeof chunk === 'string' ? Buffer.from(chunk) : chunk])
    const lines: Buffer[] = []
    let start = 0
    for (let end = bytes.indexOf(NEWLINE); end !== -1; end = bytes.indexOf(NEWLINE, start)) {
      lines.push(bytes.subarray(start, end > start && bytes[end - 1] === CARRIAGE_RETURN ? end - 1 : end))
      start = end + 1
    }
    rest = bytes.subarray(start)
    if (rest.length > maxLineBytes)
      throw new SluiceError('RECORD_TOO_LARGE', `a line of the input is longer than ${maxLineBytes} bytes`)
    if (lines.length > 0) yield lines
  }
  if (rest.length > 0) yield [rest]
}
