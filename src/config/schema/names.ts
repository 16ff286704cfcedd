// What may be the name of a stream, an upstream, a node.

import { text } from '../fields.js'
import { Unfit } from '../unfit.js'

/** Names of streams, upstreams and nodes: no dot, which joins them in the names of mirrors. */
export const NAME = /^[A-Za-z0-9_-]{1,64}$/
export const NAME_FIX = 'use 1 to 64 letters, digits, - and _'
/** The built-in stream for QoS 1 and 2 messages that no other stream takes. */
export const UNROUTED = 'unrouted'
/** The built-in stream of what is republished of mirrors; there is one only where something is. */
export const REPUBLISHED = 'republished'
/** The stream for what upstreams refuse, where none is named. */
export const UPSTREAM_DEAD = 'upstream-dead'

export const name = (description: string) =>
  text({
    description,
    pattern: NAME,
    fix: NAME_FIX,
    check: (written) =>
      written === UNROUTED ? new Unfit(`is "${UNROUTED}", the name of a built-in stream`, 'choose another name') : null,
  })
