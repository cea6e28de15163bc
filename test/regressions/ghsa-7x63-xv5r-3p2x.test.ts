import t from 'tap'
import { startGateway } from '../support/gateway.ts'
import { ask } from '../support/raw-http.ts'

// oauth2-proxy (CVE-2026-40575) chose the rule for a request by the path in X-Forwarded-Uri, which any client may send.
void t.test('the requested path selects the route, regardless of headers', async (t) => {
  for (const trustedProxies of [[], ['127.0.0.1']]) {
    const { url, upstream } = await startGateway(t, {
      config: { trustedProxies, routes: [{ path: '/**' }, { path: '/public/**', access: 'public' }] },
    })
    for (const name of [
      'X-Forwarded-Uri',
      'X-Forwarded-Path',
      'X-Original-URI',
      'X-Original-URL',
      'X-Rewrite-URL',
      'X-Forwarded-Prefix',
      'X-Envoy-Original-Path',
    ]) {
      t.equal(
        (await ask(url, 'GET', '/admin', [`${name}: /public/x`])).status,
        401,
        `${name} with${trustedProxies.length === 0 ? 'out' : ''} a trusted proxy`,
      )
    }
    t.equal(
      (await ask(url, 'POST', '/admin', ['X-Forwarded-Method: GET', 'X-Original-Method: OPTIONS', 'Content-Length: 0']))
        .status,
      401,
    )
    t.equal(upstream.requests.length, 0)
  }
})
