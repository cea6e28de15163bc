import { once } from 'node:events'
import { connect, createServer } from 'node:http2'
import t from 'tap'
import { boundPort } from '../../src/demo/bound-port.ts'
import { headersOf, REPEATED_FIELDS } from '../../src/http/http2-fields.ts'

const NAMES =
  'accept accept-encoding accept-language accept-ranges access-control-allow-credentials access-control-allow-headers ' +
  'access-control-allow-methods access-control-allow-origin access-control-expose-headers access-control-max-age ' +
  'access-control-request-headers access-control-request-method age allow alt-svc authorization cache-control ' +
  'content-disposition content-encoding content-language content-length content-location content-md5 content-range ' +
  'content-security-policy content-type cookie date dnt dpop early-data etag expect expect-ct expires forwarded from ' +
  'host if-match if-modified-since if-none-match if-range if-unmodified-since last-modified link location ' +
  'max-forwards origin pragma prefer priority proxy-authenticate proxy-authorization range referer refresh ' +
  'retry-after sec-fetch-site sec-websocket-protocol server server-timing set-cookie strict-transport-security tk ' +
  'trailer upgrade-insecure-requests user-agent vary via warning www-authenticate x-content-type-options ' +
  'x-forwarded-for x-frame-options x-xss-protection'

void t.test('Node.js sends every result, and only repetitions that Node.js refuses change', async (t) => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const session = connect(`http://127.0.0.1:${boundPort(server)}`, { settings: {}, ...REPEATED_FIELDS })
  t.teardown(() => {
    session.destroy()
    server.close()
  })
  const isSent = (headers: object): boolean => {
    try {
      session.request({ ...headers }).on('error', () => {})
      return true
    } catch {
      return false
    }
  }
  for (const name of NAMES.split(' ')) {
    const equal = headersOf([name, 'a', name.toUpperCase(), 'a'])
    t.ok(isSent(equal), `${name}: equal values`)
    if (isSent({ [name]: ['a', 'b'] })) t.same(headersOf([name, 'a', name, 'b'])[name], ['a', 'b'], name)
    else if (/^(?:if-(?:none-)?match|content-(?:encoding|language))$/.test(name))
      t.equal(headersOf([name, 'a', name, 'b'])[name], 'a, b', name)
    else t.throws(() => headersOf([name, 'a', name, 'b']), { message: new RegExp(`the field ${name} has`) }, name)
  }
})

void t.test('equal values of other fields and names of Object’s members stay', async (t) => {
  const headers = headersOf(['X-A', '1 \t', 'x-a', '1', 'constructor', 'c', '__proto__', 'p'])
  t.same(Object.entries(headers), [
    ['x-a', ['1', '1']],
    ['constructor', 'c'],
    ['__proto__', 'p'],
  ])
})
