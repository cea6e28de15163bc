import t from 'tap'
import { startGateway } from '../support/gateway.ts'
import { ask } from '../support/raw-http.ts'

// WHATWG URL parsers turn `\` into `/`: a proxy that builds the upstream's URL with one sends /public/x\..\..\admin to
// /admin.
void t.test('a backslash never becomes a slash on the way', async (t) => {
  const { url, upstream } = await startGateway(t, {
    config: { routes: [{ path: '/**' }, { path: '/public/**', access: 'public' }] },
  })
  for (const target of [
    '/public/x\\..\\..\\admin',
    '/public\\..\\admin',
    '/public/..\\admin',
    '/\\admin',
    '/public/\\..\\..\\admin',
    '\\admin',
  ]) {
    t.equal((await ask(url, 'GET', target)).status, 400, target)
  }
  for (const target of ['/public/x%5c..%5c..%5cadmin', '/public/..%5Cadmin', '/public/%255c..%255c..%255cadmin'])
    t.equal((await ask(url, 'GET', target)).status, 400, target)
  t.equal(upstream.requests.length, 0)
  await ask(url, 'GET', '/public/a%5cb')
  t.equal(upstream.requests.at(-1)?.url, '/public/a%5cb')
})
