// [http]: where programs, commands and monitoring connect.

import { parseListenAddress } from '../address.js'
import { bytes, filePath, integer, list, parsed } from '../fields.js'

const httpAddress = parsed(
  { description: '"HOST:PORT", or "https://HOST:PORT"; HOST may be * for every address.' },
  (written) => parseListenAddress<'http' | 'https'>(written, { usual: 'http', others: ['https'], unavailable: [] }),
)

export const httpFields = {
  listen: list({
    description: 'Addresses; beyond loopback with TLS (https://), or once there is a token (sluice tokens).',
    of: httpAddress,
    default: ['127.0.0.1:7883'],
    minItems: 1,
    maxItems: 16,
  }),
  cert_file: filePath({ description: 'The certificate (PEM) for https://, with those it rests on.', optional: true }),
  key_file: filePath({ description: 'The private key (PEM) of cert_file.', optional: true }),
  max_body_size: bytes({ description: 'A larger request is refused.', default: '4MB', min: '1KB', max: '64MB' }),
  max_waiting: integer({ description: 'Long polls that may wait at once.', default: 1024, min: 1, max: 10_000 }),
}
