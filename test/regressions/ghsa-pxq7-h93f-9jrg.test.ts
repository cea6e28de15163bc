import t from 'tap'
import { startGateway } from '../support/gateway.ts'
import { ask } from '../support/raw-http.ts'

// oauth2-proxy (CVE-2026-41059) matched its public paths against what comes after a `#`, which applications cut off.
void t.test('a number sign in the request target, raw or encoded, opens no route', async (t) => {
  const { url, upstream } = await startGateway(t, {
    config: { routes: [{ path: '/**' }, { path: '/foo/*/bar', access: 'public' }] },
  })
  t.equal((await ask(url, 'GET', '/foo/x/bar')).status, 404, 'the application’s answer')
  const before = upstream.requests.length
  for (const target of [
    '/foo/secret#/bar',
    '/foo/secret/#/bar',
    '/foo/secret%23/bar/bar',
    '/foo/secret?#/bar',
    '/foo#/x/bar',
  ]) {
    t.ok([400, 401].includes((await ask(url, 'GET', target)).status), target)
  }
  t.equal(upstream.requests.length, before)
  await ask(url, 'GET', '/foo/secret%23/bar')
  t.equal(
    upstream.requests.at(-1)?.url,
    '/foo/secret%23/bar',
    'encoded it is a character of its segment, here as there',
  )
})
