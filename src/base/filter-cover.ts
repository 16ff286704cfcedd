// Which topic filters make others pointless.

/** Whether every topic name that matches `filter` also matches `cover`. Both are valid filters. */
export function filterCovers(cover: string, filter: string): boolean {
  // A wildcard in the first level does not match names that begin with $ [MQTT-4.7.2-1].
  if (filter.startsWith('$') && /^[#+]/.test(cover)) return false
  // Every name has a first level.
  if (filter === '#') return cover === '#' || cover === '+/#'
  const covering = cover.split('/')
  const covered = filter.split('/')
  for (const [i, level] of covering.entries()) {
    if (level === '#') return true
    const other = covered[i]
    // Covered levels that end where `#` is next: `a/#` takes `a` too [MQTT-4.7.1.2].
    if (other === undefined || other === '#') return false
    if (level !== '+' && level !== other) return false
  }
  return covering.length === covered.length
}
