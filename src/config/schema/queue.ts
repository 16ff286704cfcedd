// [[queue]]: work queues with dead letters.

import { duration, integer, text } from '../fields.js'
import { NAME, NAME_FIX } from './names.js'

export const queueFields = {
  name: text({ description: 'What its workers call the queue.', pattern: NAME, fix: NAME_FIX }),
  stream: text({ description: 'The stream whose messages they work on.', pattern: NAME, fix: NAME_FIX }),
  max_attempts: integer({
    description: 'How often a message is handed out before it becomes a dead letter.',
    default: 5,
    min: 1,
    max: 1000,
  }),
  dead_letter: text({
    description:
      'The stream for dead letters; one of 64MB is made where no [[stream]] has that name. Default: "STREAM-dead".',
    optional: true,
    pattern: NAME,
    fix: NAME_FIX,
  }),
  visibility_timeout: duration({
    description: 'How long a message is with a worker before another gets it, unless the worker says otherwise.',
    default: '30s',
    min: '100ms',
    max: '12h',
  }),
}

/** The stream for the dead letters of a stream's queues, where none is named. */
export function deadLetterOf(stream: string): string {
  return `${stream}-dead`
}
