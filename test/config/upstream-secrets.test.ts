import { generateKeyPairSync } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { configOf, folder, problemsOf } from './config-helper.js'

// A self-signed certificate with its key; made for this test and used nowhere else.
const CERTIFICATE = `-----BEGIN CERTIFICATE-----
MIIBbzCCARWgAwIBAgIUCeC3CYvDGQnNlDOYtv6rh0n1P4wwCgYIKoZIzj0EAwIw
DDEKMAgGA1UEAwwBYTAgFw0yNjExMjIxNzUzNDdaGA8yMTI2MTAyOTE3NTM0N1ow
DDEKMAgGA1UEAwwBYTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABEHIEpR9kBkg
OeKsiMkPIDuOOYBgrjhsMMuugOepqAxPSai/AbHnKR2sDuVc3zwJk8LPJCj1kmm8
Vg9SolpPCLGjUzBRMB0GA1UdDgQWBBS7BCQpiSIwxxGWbr65rY6BpbrW4TAfBgNV
HSMEGDAWgBS7BCQpiSIwxxGWbr65rY6BpbrW4TAPBgNVHRMBAf8EBTADAQH/MAoG
CCqGSM49BAMCA0gAMEUCICgX9pdMA6Y+hzS64kUyxAYn3RoKQlWUPF37v5MXTvaz
AiEAuSWwsAhaN2BIEDcGqCvzjBC18MzcgQj8V/QOVPavxkk=
-----END CERTIFICATE-----
`
const KEY = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg1BtMf+q0Kdu/QJEW
O1rmhp9ZB7ppxAy3ojW9OVjlu92hRANCAARByBKUfZAZIDnirIjJDyA7jjmAYK44
bDDLroDnqagMT0movwGx5ykdrA7lXN88CZPCzyQo9ZJpvFYPUqJaTwix
-----END PRIVATE KEY-----
`
const OTHER_KEY = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ type: 'pkcs8', format: 'pem' })

for (const [name, text] of Object.entries({
  'a.crt': CERTIFICATE,
  'a.key': KEY,
  'b.key': OTHER_KEY,
  'broken.crt': CERTIFICATE.replace(/MII/, '!!!'),
  'no.pem': 'secret',
}))
  writeFileSync(join(folder, name), text)

const upstream = (lines: string): string =>
  `[[upstream]]\nname = "cloud"\ntype = "mqtt"\nurl = "mqtts://broker.example"\n${lines}`

test('certificates and key come as their contents', () => {
  const [cloud] = configOf(upstream('ca_file = "a.crt"\ncert_file = "a.crt"\nkey_file = "a.key"')).upstream
  assert.is(cloud.tls?.ca?.toString(), CERTIFICATE)
  assert.is(cloud.tls?.cert?.toString(), CERTIFICATE)
  assert.is(cloud.tls?.key?.toString(), KEY)
})

test('without any of them there is nothing to pass on', () => {
  assert.is(configOf(upstream('')).upstream[0].tls, undefined)
})

test('a key of another certificate, a broken one, and what is no PEM are found before the first connection', () => {
  const rows: readonly [lines: string, said: RegExp][] = [
    [
      'cert_file = "a.crt"\nkey_file = "b.key"',
      /cert_file does not make a TLS identity together with cert_file, key_file: .*; give PEM/,
    ],
    ['cert_file = "broken.crt"\nkey_file = "a.key"', /cert_file does not make a TLS identity/],
    ['ca_file = "no.pem"', /:5: upstream\.cloud\.ca_file names .*no\.pem, which holds no CERTIFICATE in PEM/],
    ['cert_file = "a.crt"\nkey_file = "a.crt"', /key_file names .*a\.crt, which holds no PRIVATE KEY in PEM/],
  ]
  for (const [lines, said] of rows) {
    const problems = problemsOf(upstream(lines))
    assert.is(problems.length, 1, problems.join('\n'))
    assert.match(problems[0], said)
  }
})

test.run()
