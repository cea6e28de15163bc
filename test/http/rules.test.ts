import { request } from 'node:http'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { startIdp } from '../../src/demo/idp.ts'
import { startUpstream } from '../../src/demo/upstream.ts'
import { createBrowser } from '../support/browser.ts'
import { startGateway } from '../support/gateway.ts'

const idp = await startIdp()
const upstream = await startUpstream()
t.teardown(async () => Promise.all([idp.close(), upstream.close()]))

const routes = [
  { path: '/**' },
  { path: '/api/orders', require: { networks: ['10.0.0.0/8', '2001:db8::/32'] } },
  {
    path: '/api/report',
    require: {
      claims: { groups: ['staff', 'admin'], email: '*@EXAMPLE.com' },
      any: [{ claims: { role: 'admin' } }, { networks: ['10.0.0.0/8'] }],
      not: { claims: { groups: 'suspended' } },
    },
  },
  { path: '/api/not', require: { not: { networks: ['10.0.0.0/8'] } } },
  { path: '/api/proxy', require: { networks: ['127.0.0.0/8'] } },
]

void t.test('networks compare the address that trusted proxies report', async (t) => {
  const running = await startGateway(t, { idp, upstream, config: { routes, trustedProxies: ['127.0.0.1'] } })
  const { url, events } = running
  const browser = createBrowser()
  await browser.login(`${url}/`, 'alice')
  const statusOf = async (path: string, from: string): Promise<number> =>
    (await browser.get(url + path, { kind: 'script', headers: { 'x-forwarded-for': from } })).status
  t.not(await statusOf('/api/orders', '10.1.2.3'), 403)
  t.not(await statusOf('/api/orders', '192.0.2.1, 2001:db8::7'), 403)
  t.not(await statusOf('/api/orders', '::ffff:10.1.2.3'), 403)
  t.equal(await statusOf('/api/orders', '10.1.2.3, 192.0.2.1'), 403, 'what an untrusted client sends does not count')
  t.match(events('forbidden').at(-1), {
    client: '192.0.2.1',
    why: 'require.networks: 192.0.2.1 is in none of 10.0.0.0/8, 2001:db8::/32',
  })
  t.not(await statusOf('/api/report', '10.1.2.3'), 403)
  t.equal(await statusOf('/api/report', '192.0.2.1'), 403)
  t.match(events('forbidden').at(-1), {
    why: 'require.any[0].claims: the claim role is missing; require.any[1].networks: 192.0.2.1 is in none of 10.0.0.0/8',
  })
  t.equal(await statusOf('/api/not', '10.1.2.3'), 403)
  t.not(await statusOf('/api/not', '192.0.2.1'), 403)
  for (const unreadable of ['unknown', '_hidden', 'fe80::1%eth0'])
    for (const path of ['/api/proxy', '/api/not'])
      t.equal(await statusOf(path, unreadable), 403, `${path} from ${unreadable}: the address is not known`)
  const anonymous = await createBrowser().get(`${url}/api/orders`, { kind: 'script' })
  t.equal(anonymous.status, 401, 'a request without a session has to log in first')
})

void t.test('without trusted proxies, networks compare the address of the connection', async (t) => {
  const { url } = await startGateway(t, { idp, upstream, config: { routes } })
  const browser = createBrowser()
  await browser.login(`${url}/`, 'alice')
  const options = { kind: 'script', headers: { 'x-forwarded-for': '10.1.2.3' } } as const
  t.equal((await browser.get(`${url}/api/orders`, options)).status, 403)
  t.not((await browser.get(`${url}/api/not`, options)).status, 403)
})

void t.test('a client of a Unix socket has the address that its X-Forwarded-For reports, or none', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'gatehouse-rules-'))
  t.teardown(() => {
    rmSync(folder, { recursive: true })
  })
  const socketPath = join(folder, 'verdicts.sock')
  const { url } = await startGateway(t, {
    idp,
    upstream,
    config: { routes, trustedProxies: ['127.0.0.1'], forwardAuth: { listen: `unix:${socketPath}` } },
  })
  const browser = createBrowser()
  await browser.login(`${url}/`, 'alice')
  const statusOf = async (path: string, headers: Record<string, string>): Promise<number | undefined> =>
    new Promise((resolve, reject) => {
      const cookie = browser.cookies.header(new URL(url))
      request(
        {
          socketPath,
          path: '/auth',
          headers: {
            'host': new URL(url).host,
            'x-original-method': 'GET',
            'x-original-uri': path,
            cookie,
            ...headers,
          },
        },
        (response) => {
          response.resume()
          resolve(response.statusCode)
        },
      )
        .on('error', reject)
        .end()
    })
  t.equal(await statusOf('/api/orders', { 'x-forwarded-for': '10.1.2.3' }), 200)
  t.equal(await statusOf('/api/orders', { 'x-forwarded-for': '192.0.2.1' }), 403)
  t.equal(await statusOf('/api/orders', {}), 403)
  t.equal(await statusOf('/api/not', { 'x-forwarded-for': '192.0.2.1' }), 200)
  t.equal(await statusOf('/api/not', {}), 403, 'whether it is in the network is not known')
  t.equal(await statusOf('/', {}), 200)
})
