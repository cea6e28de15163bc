import t from 'tap'
import { startGateway } from '../support/gateway.ts'
import { ask } from '../support/raw-http.ts'

// oauth2-proxy (CVE-2025-54576) matched its public paths against the path with the query.
void t.test('a query opens no route', async (t) => {
  const { url, upstream } = await startGateway(t, {
    config: {
      routes: [{ path: '/**' }, { path: '/public/**', access: 'public' }, { path: '/*/health', access: 'public' }],
    },
  })
  for (const target of [
    '/admin?/public/',
    '/admin?x=/public/x',
    '/admin?/health',
    '/x/admin?/health',
    '/admin?a=b&/../../public/x',
    '/admin?../public/x',
    '/admin??/public/',
    '/admin?%2f..%2fpublic/x',
  ]) {
    t.equal((await ask(url, 'GET', target)).status, 401, target)
  }
  t.equal(upstream.requests.length, 0)
})
