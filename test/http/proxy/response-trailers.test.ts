import t from 'tap'
import { clientHeaders, clientTrailers } from '../../../src/http/proxy/response-headers.ts'

void t.test('trailer fields of a response pass, except those that a recipient needs before the body', (t) => {
  const passing = [
    'grpc-status',
    '0',
    'grpc-message',
    'caf\u00e9',
    'X-Sum',
    '1',
    'x-sum',
    '2',
    'Server-Timing',
    'a;dur=1',
  ]
  t.same(clientTrailers(passing), passing)
  t.same(clientTrailers(passing.map((text) => Buffer.from(text, 'latin1'))), passing)
  const removed = [
    'Set-Cookie',
    'Gatehouse',
    'Content-Length',
    'Transfer-Encoding',
    'Connection',
    'Trailer',
    'TE',
    'Upgrade',
    'Keep-Alive',
    'WWW-Authenticate',
    'Proxy-Authenticate',
    'Location',
    'Cache-Control',
    'Age',
    'Date',
    'Expires',
    'Vary',
    'Retry-After',
    'Content-Type',
    'Content-Encoding',
    'Content-Range',
  ]
  for (const name of removed)
    for (const spelling of [name, name.toLowerCase()]) t.same(clientTrailers([spelling, 'x']), [], spelling)
  t.end()
})

void t.test('Trailer of a response names the trailer fields that pass', (t) => {
  const { headers, trailer } = clientHeaders(['Trailer', 'X-Sum, Set-Cookie', 'trailer', 'grpc-status'], () => false)
  t.same(headers, [])
  t.equal(trailer, 'X-Sum, grpc-status')
  t.equal(clientHeaders(['Trailer', 'Set-Cookie'], () => false).trailer, null)
  t.end()
})
