// Whether two topic filters can match the same topic name. Errs to yes only for names that begin with `$`.

export function filtersOverlap(a: string, b: string): boolean {
  const left = a.split('/')
  const right = b.split('/')
  for (let i = 0; ; i++) {
    if (left[i] === '#' || right[i] === '#') return true
    // `a/#` matches `a` as well.
    if (i === left.length) return i === right.length || right[i] === '#'
    if (i === right.length) return false
    if (left[i] !== right[i] && left[i] !== '+' && right[i] !== '+') return false
  }
}
