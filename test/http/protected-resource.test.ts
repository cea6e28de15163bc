import t, { type Test } from 'tap'
import type { Answer } from '../support/exchange.ts'
import { createBrowser } from '../support/browser.ts'
import { startGateway, type Running } from '../support/gateway.ts'

const WELL_KNOWN = '/.well-known/oauth-protected-resource'

const mcp = { path: '/mcp/**', bearer: { metadata: true, scopes: ['orders.read', 'orders.write'] } }

const get = async (url: string, headers: Record<string, string> = {}): Promise<Answer> =>
  createBrowser().get(url, { kind: 'none', headers })

const start = async (t: Test, routes: readonly object[], config: object = {}): Promise<Running> =>
  startGateway(t, { config: { routes, ...config } })

void t.test('the metadata of a route names the resource, the provider and the scopes', async (t) => {
  const { url, idp } = await start(t, [{ path: '/**' }, mcp])
  for (const path of ['/mcp', '/mcp/']) {
    const answer = await get(`${url}${WELL_KNOWN}${path}`)
    t.equal(answer.status, 200)
    t.same(answer.json(), {
      resource: `${url}/mcp`,
      authorization_servers: [idp.issuer],
      scopes_supported: ['orders.read', 'orders.write'],
      bearer_methods_supported: ['header'],
      resource_name: '127.0.0.1',
    })
    t.match(answer.headers['content-type'], /^application\/json/)
    t.equal(answer.headers['access-control-allow-origin'], '*')
    t.match(answer.headers['cache-control'], /^public, max-age=[1-9]/)
    t.notOk(answer.headers['set-cookie'])
  }
})

void t.test('the suffix of the metadata URL is the path up to its wildcard', async (t) => {
  const rows: [path: string, suffix: string][] = [
    ['/**', ''],
    ['/', ''],
    ['/mcp', '/mcp'],
    ['/mcp/', '/mcp'],
    ['/tools/mcp/**', '/tools/mcp'],
    ['/tools/*', '/tools'],
    ['/caf%C3%A9/**', '/caf%C3%A9'],
  ]
  for (const [path, suffix] of rows) {
    const { url } = await start(t, [{ path, bearer: { metadata: true } }], { pages: { title: 'Orders' } })
    const answer = await get(`${url}${WELL_KNOWN}${suffix}`)
    t.match(answer.json(), { resource: `${url}${suffix}`, resource_name: 'Orders' }, path)
    t.notOk('scopes_supported' in answer.json(), 'an empty list must be omitted')
    t.equal((await get(`${url}${WELL_KNOWN}${suffix}/`)).status, 200, `${path}, with a slash`)
    t.not((await get(`${url}${WELL_KNOWN}${suffix}/other`)).status, 200, path)
  }
})

void t.test('the 401 of the route leads to its metadata', async (t) => {
  const { url } = await start(t, [{ path: '/**' }, mcp])
  const challenge = (error = ''): string =>
    `Bearer realm="${new URL(url).host}", scope="orders.read orders.write"${error}, ` +
    `resource_metadata="${url}${WELL_KNOWN}/mcp"`
  const anonymous = await get(`${url}/mcp/tools?x=1`)
  t.match(anonymous.json(), { status: 401, code: 'login_required', login_url: `${url}/oauth2/login` })
  t.equal(anonymous.headers['www-authenticate'], challenge(), 'without a token, there is no error')
  const wrong = await get(`${url}/mcp`, { authorization: 'Bearer wrong' })
  t.match(wrong.json(), { status: 401, code: 'invalid_token' })
  t.equal(wrong.headers['www-authenticate'], challenge(', error="invalid_token"'))
  const person = await createBrowser().get(`${url}/mcp`)
  t.match(person.headers.location, /\/oauth2\/login\?redirect=%2Fmcp$/, 'a navigation is redirected')
  t.equal((await get(`${url}/orders`)).headers['www-authenticate'], 'Bearer', 'other routes have the plain challenge')
})
