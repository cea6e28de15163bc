import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { renameSync, writeFileSync } from 'node:fs'
import { Agent, get, type IncomingMessage } from 'node:http'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect as connectTls, type PeerCertificate } from 'node:tls'
import t from 'tap'
import { startIdp } from '../../src/demo/idp.ts'
import { startUpstream } from '../../src/demo/upstream.ts'
import { createBrowser } from '../support/browser.ts'
import { createAuthority } from '../support/certificates.ts'
import { cookieOf, statusAt } from '../support/gateway-process.ts'
import { freePort } from '../support/free-port.ts'
import { nextEvent, serveFile } from '../support/served-file.ts'
import { eventually } from '../support/eventually.ts'
import { openWebSocket } from '../support/websocket.ts'

const idp = await startIdp()
const upstream = await startUpstream()
t.teardown(async () => Promise.all([idp.close(), upstream.close()]))

void t.test('SIGHUP applies new routes, and open connections and running requests continue', async (t) => {
  const gateway = await serveFile(t, { idp, upstream }, { routes: [{ path: '/**' }] })
  const { url } = gateway
  const browser = await gateway.login()
  const cookie = cookieOf(browser, gateway)
  const socket = await openWebSocket(`${url}/ws`, { headers: [`Cookie: ${cookie}`, `Origin: ${url}`] })
  const events = await fetch(`${url}/api/stream`, { headers: { cookie, accept: 'text/event-stream' } })
  const reader = events.body?.getReader()
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  t.teardown(() => {
    agent.destroy()
  })
  const kept = async (path: string): Promise<{ status: number | undefined; from: number | undefined }> => {
    const [answer]: IncomingMessage[] = await once(get(`${url}${path}`, { agent, headers: { cookie } }), 'response')
    if (answer === undefined) throw new Error('no answer')
    const from = answer.socket.localPort
    await text(answer)
    return { status: answer.statusCode, from }
  }
  const first = await kept('/api/orders')
  const slow = fetch(`${url}/api/slow?ms=3000`, { headers: { cookie } })
  await eventually(() => upstream.requests.some((one) => one.url === '/api/slow?ms=3000'), {
    what: 'the slow request is in progress',
  })
  t.equal((await fetch(`${url}/public/page`, { redirect: 'manual' })).status, 401)

  gateway.rewrite({ routes: [{ path: '/**' }, { path: '/public/**', access: 'public' }], basePath: '/gate' })
  gateway.hangUp()
  t.match(await nextEvent(gateway, 'reloaded', 0), { level: 'info', cause: 'SIGHUP' })

  t.equal((await fetch(`${url}/public/page`)).status, 200, 'the new route holds')
  t.equal(
    (await fetch(`${url}/gate/session`, { headers: { cookie } })).status,
    200,
    'the new base path applies, and the session in memory survives',
  )
  t.same(await kept('/api/orders'), { status: 200, from: first.from }, 'the connection is the same')
  t.equal((await slow).status, 200, 'a request in progress is answered')
  socket.send('still there?')
  t.match(await socket.next(), { payload: Buffer.from('still there?') })
  t.match(new TextDecoder().decode((await reader?.read())?.value), /^data: /m, 'the event stream goes on')
  await fetch(`${url}/gate/logout/local`, { method: 'POST', headers: { cookie, origin: url } })
  t.equal(await socket.closed, 4401, 'and both still end with their session')
  t.equal(await statusAt(browser, gateway), 401)
  t.equal((await gateway.stop()).status, 0)
})

void t.test('SIGHUP reads the provider’s metadata again, even if the configuration has not changed', async (t) => {
  const gateway = await serveFile(t, { idp, upstream }, { routes: [{ path: '/**' }] })
  await gateway.login()
  const before = idp.requests.discovery
  gateway.hangUp()
  t.match(await nextEvent(gateway, 'reloaded', 0), { msg: /has not changed/ })
  await eventually(() => idp.requests.discovery === before + 1, { what: 'the metadata has been read again' })
  t.equal((await gateway.stop()).status, 0)
})

void t.test('a refresh that is running when the configuration changes is finished and saved', async (t) => {
  const { accessToken } = idp.settings.lifetimes
  idp.settings.lifetimes.accessToken = 2
  t.teardown(() => {
    idp.settings.lifetimes.accessToken = accessToken
  })
  const gateway = await serveFile(t, { idp, upstream })
  const browser = await gateway.login()
  await sleep(2_100)
  const before = idp.grants['refresh_token'] ?? 0
  idp.fail('token', { delay: 2_500, times: 1 })
  const waiting = statusAt(browser, gateway)
  gateway.rewrite({ scripts: { message: 'changed' } })
  gateway.hangUp()
  await nextEvent(gateway, 'reloaded', 0)
  const joined = statusAt(browser, gateway)
  t.same(await Promise.all([waiting, joined]), [200, 200], 'one that came before and one that came after')
  t.equal((idp.grants['refresh_token'] ?? 0) - before, 1, 'with one grant')
  t.equal(idp.refusedGrants['refresh_token'] ?? 0, 0)
})

void t.test(
  'a changed file is detected without a signal, keys are read from files, and old keys still open cookies',
  async (t) => {
    const [oldKey, newKey] = [randomBytes(32), randomBytes(32)].map((bytes) => bytes.toString('base64'))
    const folder = t.testdir({ first: `${oldKey}\n`, second: `${oldKey}\n` })
    const keys = ['first', 'second'].map((name) => `\${file:${join(folder, name)}}`)
    const gateway = await serveFile(t, { idp, upstream }, { session: { keys } })
    const [before, cookieBefore] = [await gateway.login(), gateway.events('reloaded').length]
    writeFileSync(join(folder, 'next'), newKey ?? '')
    renameSync(join(folder, 'next'), join(folder, 'first'))
    t.match(await nextEvent(gateway, 'reloaded', cookieBefore), { cause: 'file' })
    const after = await gateway.login('bob')
    t.same([await statusAt(before, gateway), await statusAt(after, gateway)], [200, 200])
    writeFileSync(join(folder, 'second'), randomBytes(32).toString('base64'))
    await nextEvent(gateway, 'reloaded', 1)
    t.same(
      [await statusAt(before, gateway), await statusAt(after, gateway)],
      [401, 200],
      'a cookie sealed with the removed key is invalid',
    )
  },
)

void t.test(
  'an invalid configuration is refused with every problem and its place, and the old one stays in use',
  async (t) => {
    const gateway = await serveFile(t, { idp, upstream }, { routes: [{ path: '/**' }] })
    const browser = await gateway.login()
    gateway.rewrite({ routes: [{ path: '/**', acess: 'public' }, { path: 'api' }] })
    const refused = await nextEvent(gateway, 'reload_refused', 0)
    t.match(refused, {
      level: 'error',
      cause: 'file',
      problems: [
        {
          file: gateway.file,
          path: 'routes[0].acess',
          message: 'is not a key of the configuration',
          instead: 'did you mean access?',
        },
        { file: gateway.file, path: 'routes[1].path' },
      ],
    })
    t.match(String(refused['msg']), /gatehouse\.yaml:\d+:\d+: routes\[0\]\.acess: is not a key/)
    t.equal(await statusAt(browser, gateway), 200)
    t.equal((await fetch(`${gateway.url}/x`)).status, 401, 'no route is public')
    gateway.rewrite({ routes: [{ path: '/**', access: 'public' }] })
    await nextEvent(gateway, 'reloaded', 0)
    t.equal((await fetch(`${gateway.url}/api/orders`)).status, 200)
  },
)

void t.test('a change that needs a restart is named, and no part of the file is applied', async (t) => {
  const gateway = await serveFile(t, { idp, upstream }, { routes: [{ path: '/**' }] })
  gateway.rewrite({
    listen: `127.0.0.1:${await freePort()}`,
    workers: 1,
    admin: false,
    routes: [{ path: '/**', access: 'public' }],
    session: { store: 'memory:?max=5' },
  })
  gateway.hangUp()
  t.match(await nextEvent(gateway, 'reload_refused', 0), {
    level: 'error',
    restart: ['listen', 'admin', 'session.store'],
  })
  t.equal((await fetch(`${gateway.url}/api/orders`)).status, 401)
  t.equal(gateway.events('reloaded').length, 0)
})

void t.test('a new log level and a new upstream apply after a reload', async (t) => {
  const other = await startUpstream()
  t.teardown(async () => other.close())
  const gateway = await serveFile(
    t,
    { idp, upstream },
    { routes: [{ path: '/**', access: 'public' }], log: { level: 'error' } },
  )
  await fetch(`${gateway.url}/api/orders?before`)
  t.equal(gateway.events('request').length, 0)
  gateway.rewrite({ upstream: other.url, log: { level: 'info' } })
  gateway.hangUp()
  await nextEvent(gateway, 'reloaded', 0)
  await fetch(`${gateway.url}/api/orders?after`)
  t.match(await nextEvent(gateway, 'request', 0), { path: '/api/orders' })
  t.same(
    other.requests.map((one) => one.url),
    ['/api/orders?after'],
  )
})

void t.test('the old client secret serves until the provider has been discovered again with the new one', async (t) => {
  const gateway = await serveFile(t, { idp, upstream })
  const port = new URL(gateway.url).port
  await idp.registerClient({
    clientId: `client-${port}`,
    clientSecret: 'rotated',
    redirectUris: [`${gateway.url}/oauth2/callback`],
  })
  const failed = await createBrowser().login(`${gateway.url}/`, 'alice')
  t.not(failed.answer.status, 200, 'the provider has forgotten the old one')
  gateway.rewrite({ provider: { issuer: idp.issuer, clientId: `client-${port}`, clientSecret: 'rotated' } })
  gateway.hangUp()
  await nextEvent(gateway, 'reloaded', 0)
  await nextEvent(gateway, 'provider_discovered', 1)
  await gateway.login()
})

void t.test(
  'new connections get a new certificate, open ones stay, and a certificate that does not match its key is refused',
  async (t) => {
    const authority = createAuthority()
    const [first, second] = [authority.issue(['127.0.0.1']), authority.issue(['127.0.0.1', 'second.example'])]
    const folder = t.testdir({ 'cert.pem': first.cert, 'key.pem': first.key })
    const [certFile, keyFile] = [join(folder, 'cert.pem'), join(folder, 'key.pem')]
    const port = await freePort()
    const gateway = await serveFile(
      t,
      { idp, upstream, port },
      {
        publicUrl: `https://127.0.0.1:${port}`,
        tls: { certFile, keyFile },
        routes: [{ path: '/**', access: 'public' }],
      },
    )
    const open = async () => {
      const socket = connectTls({ host: '127.0.0.1', port, ca: authority.ca })
      await once(socket, 'secureConnect')
      t.teardown(() => {
        socket.destroy()
      })
      const ask = async (): Promise<string> => {
        socket.write('GET /api/orders HTTP/1.1\r\nHost: a\r\n\r\n')
        const [bytes]: Buffer[] = await once(socket, 'data')
        return String(bytes).split('\r\n')[0] ?? ''
      }
      const peer: PeerCertificate = socket.getPeerCertificate()
      return { ask, names: peer.subjectaltname ?? '' }
    }
    const before = await open()
    t.notMatch(before.names, 'second.example')
    t.equal(await before.ask(), 'HTTP/1.1 200 OK')

    writeFileSync(certFile, second.cert)
    t.match(await nextEvent(gateway, 'reload_refused', 0), {
      problems: [{ path: 'tls.keyFile', message: 'is not the key of the certificate in certFile' }],
    })
    t.equal((await open()).names, before.names)

    writeFileSync(keyFile, second.key)
    await nextEvent(gateway, 'reloaded', 0)
    const after = await open()
    t.match(after.names, 'second.example')
    t.same([await before.ask(), await after.ask()], ['HTTP/1.1 200 OK', 'HTTP/1.1 200 OK'])
  },
)

void t.test('the style and the icon of the pages are read again when their files change', async (t) => {
  const image = (color: string): string => `<svg xmlns="http://www.w3.org/2000/svg" fill="${color}"/>`
  const folder = t.testdir({ 'site.css': 'h1 { color: red }', 'icon.svg': image('red') })
  const [styleFile, favicon] = [join(folder, 'site.css'), join(folder, 'icon.svg')]
  const gateway = await serveFile(t, { idp, upstream }, { pages: { styleFile, favicon } })
  const page = async (): Promise<string> => (await createBrowser().get(`${gateway.url}/oauth2/nothing`)).body
  t.match(await page(), 'h1 { color: red }')
  writeFileSync(styleFile, 'h1 { color: teal }')
  writeFileSync(favicon, image('teal'))
  await nextEvent(gateway, 'reloaded', 0)
  const changed = await page()
  t.match(changed, 'h1 { color: teal }')
  t.match(changed, `href="data:image/svg+xml;base64,${Buffer.from(image('teal')).toString('base64')}"`)
})
