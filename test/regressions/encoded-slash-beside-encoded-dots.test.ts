import t from 'tap'
import { startGateway } from '../support/gateway.ts'
import { ask } from '../support/raw-http.ts'

// To a URL parser `%2e%2e` is a dot segment and `%2f` is no slash: /public/a%2fb/%2e%2e/%2e%2e/admin is /admin to it,
// but /public/admin to a server that decodes all or nothing.
void t.test('dots may be decoded where slashes are not', async (t) => {
  const { url, upstream } = await startGateway(t, {
    config: { routes: [{ path: '/**' }, { path: '/public/**', access: 'public' }] },
  })
  const targets = [
    '/public/a%2fb/%2e%2e/%2e%2e/admin',
    '/public/a%2Fb%2Fc/.%2e/%2e%2e/admin',
    '/public/a%5cb/%2e%2e/%2e%2e/admin',
    '/public/a%252fb/%252e%252e/%252e%252e/admin',
    '/public/%25zz/%252e%252e/%252e%252e/admin',
    '/public/a%2fb/..;/..;/admin',
  ]
  for (const target of targets) {
    t.equal((await ask(url, 'GET', target)).status, 400, target)
  }
  t.equal(upstream.requests.length, 0)
})
