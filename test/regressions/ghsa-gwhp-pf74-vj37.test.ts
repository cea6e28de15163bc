import t from 'tap'
import { createBrowser } from '../support/browser.ts'
import { startGateway } from '../support/gateway.ts'
import { ask } from '../support/raw-http.ts'

// @fastify/reply-from (CVE-2026-33805), like Fabio before it (CVE-2025-48865), let a client's Connection header name
// the headers that the proxy adds, and took them out again.
void t.test('Connection can’t remove a header that the gateway sets', async (t) => {
  const { url, upstream } = await startGateway(t, {
    config: { routes: [{ path: '/**', headers: { set: { 'X-User': '{claims.sub}' } } }] },
  })
  const browser = createBrowser()
  await browser.login(`${url}/`, 'carol')
  const names = [
    'X-User',
    'x-user',
    'Authorization',
    'Host',
    'X-Forwarded-For',
    'X-Forwarded-Host',
    'X-Forwarded-Proto',
  ]
  await ask(url, 'GET', '/x', [
    `Cookie: gatehouse=${browser.cookies.get(url, 'gatehouse') ?? ''}`,
    ...names.map((name) => `Connection: ${name}`),
    `Connection: ${names.join(', ')}`,
  ])
  t.match(upstream.requests.at(-1)?.headers, {
    'x-user': 'carol',
    'authorization': /^Bearer /,
    'host': new URL(url).host,
    'x-forwarded-for': '127.0.0.1',
    'x-forwarded-host': new URL(url).host,
    'x-forwarded-proto': 'http',
  })
  t.equal((await ask(url, 'GET', '/x', ['Connection: Cookie, X-Forwarded-For'])).status, 401)
})
