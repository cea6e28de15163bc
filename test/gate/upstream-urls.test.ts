import t from 'tap'
import { startIdp } from '../../src/demo/idp.ts'
import { upstreamPath } from '../../src/gate/upstream-urls.ts'
import { startGateway } from '../support/gateway.ts'
import { ask } from '../support/raw-http.ts'

// One provider for all gateways here: what it does is not what these tests are about.
const idp = await startIdp()
t.teardown(() => idp.close())

void t.test('a prefix is stripped or replaced in whole segments, and the rest stays', (t) => {
  const strip = { stripPrefix: '/api', rewritePrefix: null }
  const rows: [path: string, up: string][] = [
    ['/api/orders', '/orders'],
    ['/api', '/'],
    ['/api/', '/'],
    ['/apix/y', '/apix/y'],
    ['/API/orders', '/API/orders'],
    ['/api//x', '//x'],
    ['/api/%2e%2f', '/%2e%2f'],
    ['/x/api/y', '/x/api/y'],
  ]
  for (const [path, up] of rows) t.equal(upstreamPath(strip, path), up, path)
  const rewrite = { stripPrefix: null, rewritePrefix: { from: '/api/v1', to: '/internal' } }
  t.equal(upstreamPath(rewrite, '/api/v1/orders'), '/internal/orders')
  t.equal(upstreamPath(rewrite, '/api/v1'), '/internal')
  t.equal(upstreamPath(rewrite, '/api/v1x'), '/api/v1x')
  t.equal(upstreamPath({ stripPrefix: null, rewritePrefix: { from: '/api', to: '' } }, '/api/x'), '/x')
  t.equal(upstreamPath({ stripPrefix: null, rewritePrefix: null }, '/api/x'), '/api/x')
  t.end()
})

void t.test('the application receives the path without its prefix, and the unchanged query', async (t) => {
  const { url, upstream } = await startGateway(t, {
    idp,
    config: {
      routes: [
        { path: '/api/**', access: 'public', stripPrefix: '/api' },
        { path: '/old/**', access: 'public', rewritePrefix: { from: '/old', to: '/new/place' } },
        { path: '/gone/**', access: 'public', rewritePrefix: { from: '/gone', to: '/' } },
      ],
    },
  })
  const rows = [
    ['/api/a%2Fb;c//d?x=/api', '/a%2Fb;c//d?x=/api'],
    ['/api', '/'],
    ['/api?x', '/?x'],
    ['/old/a', '/new/place/a'],
    ['/old', '/new/place'],
    ['/gone/a', '/a'],
    ['/gone', '/'],
  ]
  for (const [target = '', up = ''] of rows) {
    await ask(url, 'GET', target)
    t.equal(upstream.requests.at(-1)?.url, up, target)
  }
})

void t.test('each route has its own upstream', async (t) => {
  const first = await startGateway(t, { idp })
  const { url, upstream } = await startGateway(t, {
    idp,
    config: {
      routes: [
        { path: '/**', access: 'public' },
        { path: '/other/**', access: 'public', upstream: first.upstream.url },
      ],
    },
  })
  await ask(url, 'GET', '/here')
  await ask(url, 'GET', '/other/there')
  t.same(
    upstream.requests.map((request) => request.url),
    ['/here'],
  )
  t.same(
    first.upstream.requests.map((request) => request.url),
    ['/other/there'],
  )
})
