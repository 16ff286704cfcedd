// Copies the keys and payloads of records to their place in a batch. Most are short, and payloads come out of one large buffer, which the sockets
// read into: they are copied word by word through views that are made once. A native copy out of it makes an object each time: measured with 48
// and 100 bytes, 103 and 84 ns became 33 and 52, and there is less garbage.

/** Below this a loop over bytes is fastest. */
const LOOP_BELOW_BYTES = 12
/** Above this the native copy is. */
const MAX_WORDS_BYTES = 192
/** A smaller buffer is not worth a view: few records come out of it. */
const MIN_VIEWED_BYTES = 64 * 1024

let viewed: Uint8Array = new Uint8Array(0)
let viewedWords = viewOf(viewed)

/** Source and target of words. */
export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
}

/**
 * Copies source[start, end) to target[at …].
 * @param targetWords A view of the target.
 * @returns the position after it.
 */
export function copyBytes(
  source: Uint8Array,
  start: number,
  end: number,
  target: Uint8Array,
  targetWords: DataView,
  at: number,
): number {
  const length = end - start
  if (length < LOOP_BELOW_BYTES) {
    while (start < end) target[at++] = source[start++]
    return at
  }
  if (length > MAX_WORDS_BYTES || source.length < MIN_VIEWED_BYTES) {
    target.set(length === source.length ? source : source.subarray(start, end), at)
    return at + length
  }
  if (source !== viewed) {
    viewed = source
    viewedWords = viewOf(source)
  }
  copyWords(viewedWords, start, end, targetWords, at - start)
  return at + length
}

/** Copies source[start, end), four bytes at least, to where it lies in the target plus `shift`. The last word may overlap the one before. */
function copyWords(source: DataView, start: number, end: number, target: DataView, shift: number): void {
  let at = start
  for (const last = end - 16; at <= last; at += 16) {
    target.setInt32(at + shift, source.getInt32(at, true), true)
    target.setInt32(at + shift + 4, source.getInt32(at + 4, true), true)
    target.setInt32(at + shift + 8, source.getInt32(at + 8, true), true)
    target.setInt32(at + shift + 12, source.getInt32(at + 12, true), true)
  }
  const last = end - 4
  for (; at < last; at += 4) target.setInt32(at + shift, source.getInt32(at, true), true)
  target.setInt32(last + shift, source.getInt32(last, true), true)
}
