// Errors as clients see them: a code and a sentence, with the status that fits; and answers to connections for which Node has no response, because what
// came is no request, or one that wanted to go on as something else.

import { STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import { SluiceError } from '../base/errors.js'
import { snakeCased } from '../base/snake-case.js'
import type { HttpReply } from './route.js'

export function errorAnswer(error: SluiceError): HttpReply {
  const headers: Record<string, string> = { 'content-type': 'application/json' }
  if (error.httpStatus === 429) headers['retry-after'] = '1'
  if (error.httpStatus === 401) headers['www-authenticate'] = 'Bearer'
  if (error.httpStatus === 405) headers['allow'] = String(error.details['allowed'])
  return { status: error.httpStatus, headers, body: errorText(error) }
}

/** One line of JSON. */
export function errorText({ code, message, details }: SluiceError): string {
  return `${JSON.stringify({ error: { code, message, details: snakeCased(details) } })}\n`
}

/** What Node's parser refuses before there is a request. */
export function refuseBrokenRequest(error: NodeJS.ErrnoException, socket: Socket): void {
  if (!socket.writable || socket.bytesWritten > 0) return void socket.destroy()
  const [status, message] =
    error.code === 'HPE_HEADER_OVERFLOW'
      ? [431, 'the headers of the request are too large']
      : error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
        ? [408, 'the request did not arrive in time']
        : [400, 'this is not an HTTP request']
  socket.end(rawAnswer({ ...errorAnswer(new SluiceError('INVALID_REQUEST', message)), status }))
}

/** The last answer of a connection, as it goes over the wire. */
export function rawAnswer({ status = 500, headers = {}, body }: HttpReply): string {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
  const text = String(body)
  return `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${lines.join('')}content-length: ${Buffer.byteLength(text)}\r\nconnection: close\r\n\r\n${text}`
}
