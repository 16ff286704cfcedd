// Finds the known name that a misspelt one was probably meant to be: for unknown configuration keys, commands and options.

/** @returns the candidate with the fewest edits from `name`, or null when none is near enough to be a misspelling of it. */
export function nearestName(name: string, candidates: Iterable<string>): string | null {
  const wanted = name.toLowerCase()
  let best: string | null = null
  let bestDistance = Number.POSITIVE_INFINITY
  for (const candidate of candidates) {
    const known = candidate.toLowerCase()
    // A word that was shortened or that lacks its last parts is meant as often as a word with wrong letters.
    const shortened = wanted.length >= 3 && (known.startsWith(wanted) || wanted.startsWith(known))
    const distance = shortened ? 1 : editDistance(wanted, known)
    if (distance < bestDistance && (shortened || distance <= Math.max(1, Math.floor(known.length / 3)))) {
      best = candidate
      bestDistance = distance
    }
  }
  return best
}

/** Insertions, deletions, substitutions and swaps of neighbours between two words (optimal string alignment). */
function editDistance(a: string, b: string): number {
  let beforePrevious: number[] = []
  let previous = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const current = [i]
    for (let j = 1; j <= b.length; j++) {
      const substitution = previous[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1)
      let distance = Math.min(substitution, previous[j] + 1, current[j - 1] + 1)
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        distance = Math.min(distance, beforePrevious[j - 2] + 1)
      current.push(distance)
    }
    beforePrevious = previous
    previous = current
  }
  return previous[b.length]
}
