import t from 'tap'
import { startIdp } from '../../../src/demo/idp.ts'
import { eventually } from '../../support/eventually.ts'
import { createBrowser } from '../../support/browser.ts'
import { freePort } from '../../support/free-port.ts'
import { startGateway } from '../../support/gateway.ts'
import { openAndRead } from '../../support/raw-http.ts'

// One provider for all gateways here: what it does is not what these tests are about.
const idp = await startIdp()
t.teardown(() => idp.close())

/** Sends a head that waits to be asked for its body. */
const expecting = (url: string, path: string, headers: readonly string[] = []) => {
  const { socket, text } = openAndRead(url)
  socket.write(
    [
      `POST ${path} HTTP/1.1`,
      `Host: ${new URL(url).host}`,
      'Expect: 100-continue',
      'Content-Length: 5',
      ...headers,
      '',
      '',
    ].join('\r\n'),
  )
  return { socket, text }
}

void t.test('an admitted request gets 100 Continue, and its body is forwarded', async (t) => {
  const { url, upstream } = await startGateway(t, {
    idp,
    config: {
      routes: [
        { path: '/**', access: 'public' },
        { path: '/api/small', access: 'public', maxBody: '1kb' },
      ],
    },
  })
  for (const path of ['/api/echo', '/api/small']) {
    const { socket, text } = expecting(url, path, ['Connection: close'])
    await eventually(() => text().startsWith('HTTP/1.1 100 Continue\r\n\r\n'))
    socket.write('hello')
    await eventually(() => socket.closed)
    t.equal(text().match(/HTTP\/1\.1/g)?.length, 2, path)
    t.notOk(upstream.requests.at(-1)?.headers.expect)
  }
  t.match(upstream.requests[0], { url: '/api/echo' })
})

void t.test(
  'a denied request gets its response without 100 Continue, and the connection ends, even if the client sends its body',
  async (t) => {
    const { url, upstream } = await startGateway(t, {
      idp,
      config: { routes: [{ path: '/**' }, { path: '/small/**', access: 'public', maxBody: '4b' }] },
    })
    const rows: [path: string, status: number, code: string][] = [
      ['/api/echo', 401, 'login_required'],
      ['/small/x', 413, 'payload_too_large'],
      ['/oauth2/nope', 404, 'not_found'],
      ['/a\\b', 400, 'bad_request'],
    ]
    for (const [path, status, code] of rows) {
      const patient = expecting(url, path)
      await eventually(() => patient.text().includes('\r\n\r\n'))
      t.match(patient.text(), new RegExp(`^HTTP/1\\.1 ${status} [^]*gatehouse: ${code}`, 'i'), path)
      t.match(patient.text(), /connection: close/i, path)
      patient.socket.write('helloGET /second HTTP/1.1\r\nHost: a\r\n\r\n')
      await eventually(() => patient.socket.closed)
      t.equal(patient.text().match(/HTTP\/1\.1/g)?.length, 1, path)
    }
    t.equal(upstream.requests.length, 0)
  },
)

void t.test('an unreachable application is a 502 before the client sends its body', async (t) => {
  const { url } = await startGateway(t, {
    idp,
    config: { upstream: `http://127.0.0.1:${await freePort()}`, routes: [{ path: '/**', access: 'public' }] },
  })
  const { text, socket } = expecting(url, '/')
  await eventually(() => text().includes('upstream_unreachable'))
  t.match(text(), /^HTTP\/1\.1 502 [^]*connection: close/i)
  socket.destroy()
})

void t.test('the gateway’s own endpoints and kept forms send 100 Continue for bodies that they read', async (t) => {
  const { url } = await startGateway(t, { idp })
  const form = 'Content-Type: application/x-www-form-urlencoded'
  for (const [path, status, headers] of [
    ['/oauth2/logout/backchannel', 400, [form]],
    ['/orders', 401, [form, 'Accept: text/html']],
  ] as const) {
    const { socket, text } = expecting(url, path, headers)
    await eventually(() => text().startsWith('HTTP/1.1 100 Continue\r\n\r\n'))
    socket.write('a=b&c')
    await eventually(() => text().includes(`HTTP/1.1 ${status}`))
    socket.destroy()
    t.match(text(), /gatehouse: (?:logout_refused|login_required)/i, path)
  }
})

void t.test('requests with a session get 100 Continue, and several on one connection get it in order', async (t) => {
  const { url } = await startGateway(t, { idp })
  const browser = createBrowser()
  await browser.login(`${url}/`, 'alice')
  const { socket, text } = expecting(url, '/api/echo', [`Cookie: ${browser.cookies.header(new URL(url))}`])
  await eventually(() => text().includes('100 Continue'))
  socket.write('hello')
  await eventually(() => text().includes('"text":"hello"'))
  socket.write('GET /oauth2/session HTTP/1.1\r\nHost: a\r\n\r\n')
  await eventually(() => text().includes('login_required'))
  socket.destroy()
  t.same(
    [...text().matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => status),
    ['100', '200', '401'],
  )
})
