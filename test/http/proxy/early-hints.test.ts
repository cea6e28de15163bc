import { once } from 'node:events'
import { request as httpRequest, type IncomingMessage } from 'node:http'
import { connect as connectHttp2, type IncomingHttpHeaders } from 'node:http2'
import { text as textOf } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import { startIdp } from '../../../src/demo/idp.ts'
import { createBrowser } from '../../support/browser.ts'
import { eventually } from '../../support/eventually.ts'
import { startGateway } from '../../support/gateway.ts'
import { openAndRead, sendRaw } from '../../support/raw-http.ts'
import { startSockets } from '../../support/sockets.ts'

// One provider for all gateways here: what it does is not what these tests are about.
const idp = await startIdp()
t.teardown(() => idp.close())

const publicRoutes = [{ path: '/**', access: 'public' }]
const HINTS =
  'HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload; as=style, </\xe9.js>; rel="preload"; title="a b"\r\n' +
  'link: <https://cdn.example>; rel=preconnect; crossorigin\r\n\r\n'
const FINAL = 'HTTP/1.1 200 OK\r\nX-Final: 1\r\nContent-Length: 2\r\n\r\nok'
const NAVIGATION = 'Sec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n'
const ask = (headers: string, version = '1.1', method = 'GET'): string =>
  `${method} / HTTP/${version}\r\nHost: a\r\n${headers}Connection: close\r\n\r\n`

/** Starts a gateway in front of an application that answers each request with these pieces, in order. */
const startHinting = async (t: Test, pieces: readonly string[]) => {
  const upstream = await startSockets(t, (socket) => {
    socket.on('data', () => {
      pieces.forEach((piece, i) => setTimeout(() => socket.write(piece, 'latin1'), 20 * i))
    })
  })
  return startGateway(t, { idp, config: { upstream, routes: publicRoutes } })
}

void t.test('early hints reach a navigation byte for byte, before the final response', async (t) => {
  const more = 'HTTP/1.1 103 Early Hints\r\nLink: </b.css>; rel=preload\r\n\r\n'
  for (const pieces of [
    [HINTS, more, FINAL],
    [HINTS + more + FINAL],
    [
      'HTTP/1.1 102 Processing\r\nX-A: 1\r\n\r\n',
      HINTS.slice(0, 30),
      HINTS.slice(30) + more.slice(0, 9),
      more.slice(9) + FINAL,
    ],
  ]) {
    const { url } = await startHinting(t, pieces)
    for (const headers of [NAVIGATION, 'Accept: text/html\r\n']) {
      const text = (await sendRaw(url, ask(headers))).toString('latin1')
      t.ok(text.startsWith(`${HINTS}${more}HTTP/1.1 200 OK\r\nX-Final: 1\r\n`), text)
      t.ok(text.endsWith('\r\n\r\nok'))
    }
  }
})

void t.test('hints arrive while the application prepares its response', async (t) => {
  let finish = (): void => {}
  const upstream = await startSockets(t, (socket) => {
    socket.once('data', () => {
      socket.write(HINTS, 'latin1')
      finish = () => socket.end(FINAL)
    })
  })
  const { url, events } = await startGateway(t, { idp, config: { upstream, routes: publicRoutes } })
  const request = httpRequest(url, { headers: { accept: 'text/html' } }).end()
  const [hints] = (await once(request, 'information')) as [{ statusCode: number; headers: Record<string, string> }]
  t.equal(hints.statusCode, 103)
  t.match(hints.headers['link'], /^<\/a\.css>; rel=preload; as=style, .*crossorigin$/)
  finish()
  const [response] = (await once(request, 'response')) as [IncomingMessage]
  response.resume()
  t.equal(response.statusCode, 200)
  t.notOk(response.headers.link)
  await eventually(() => events('request').length === 1)
  t.match(events('request')[0], { status: 200 })
})

void t.test('other requests get no hints, and other interim responses do not pass', async (t) => {
  const { url } = await startHinting(t, [HINTS, FINAL])
  for (const [headers, version, method] of [
    ['', '1.1', 'GET'],
    ['Sec-Fetch-Mode: cors\r\nSec-Fetch-Dest: empty\r\n', '1.1', 'GET'],
    [`${NAVIGATION}Content-Length: 0\r\n`, '1.1', 'PUT'],
    [NAVIGATION, '1.0', 'GET'],
    [`${NAVIGATION}Sec-Purpose: prefetch\r\n`, '1.1', 'GET'],
  ] as const)
    t.match((await sendRaw(url, ask(headers, version, method))).toString(), /^HTTP\/1\.1 200 OK\r\nX-Final/, headers)
  const other = await startHinting(t, ['HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 104 Odd\r\n\r\n', FINAL])
  t.match((await sendRaw(other.url, ask(NAVIGATION))).toString(), /^HTTP\/1\.1 200 OK\r\nX-Final/)
})

void t.test('the headers of hints are filtered like those of a response', async (t) => {
  const hints =
    'HTTP/1.1 103 Early Hints\r\nSet-Cookie: gatehouse=x\r\nGatehouse: login_required\r\nConnection: X-Hop\r\nX-Hop: 1\r\n' +
    'Content-Length: 5\r\nLink: </a.css>\r\n\r\n'
  const { url } = await startHinting(t, [hints, FINAL])
  const text = (await sendRaw(url, ask(NAVIGATION))).toString()
  t.match(text, /^HTTP\/1\.1 103 Early Hints\r\nLink: <\/a\.css>\r\n\r\nHTTP\/1\.1 200 OK\r\n/)
})

void t.test('hints that arrive while an earlier response is being sent are dropped', async (t) => {
  const upstream = await startSockets(t, (socket) => {
    socket.on('data', (head) => {
      if (head.toString().startsWith('GET /slow')) {
        socket.write('HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nslow')
        setTimeout(() => socket.write('done'), 100)
      } else socket.write(HINTS + FINAL, 'latin1')
    })
  })
  const { url } = await startGateway(t, { idp, config: { upstream, routes: publicRoutes } })
  const { socket, text } = openAndRead(url)
  const get = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: a\r\n${NAVIGATION}\r\n`
  socket.write(get('/slow') + get('/fast'))
  await eventually(() => text().endsWith('ok'))
  t.match(text(), /^HTTP\/1\.1 200 OK\r\n[^]*\r\n\r\nslowdoneHTTP\/1\.1 200 OK\r\nX-Final/)
  socket.write(get('/fast'))
  await eventually(() => text().includes('103 Early Hints'))
  socket.destroy()
})

void t.test('a user with a session gets hints, and a user without one gets the login only', async (t) => {
  const upstream = await startSockets(t, (socket) => {
    socket.on('data', () => socket.write(HINTS + FINAL, 'latin1'))
  })
  const { url } = await startGateway(t, { idp, config: { upstream } })
  const browser = createBrowser()
  await browser.login(`${url}/`, 'alice')
  const cookie = browser.cookies.header(new URL(url))
  t.match((await sendRaw(url, ask(`${NAVIGATION}Cookie: ${cookie}\r\n`))).toString('latin1'), /^HTTP\/1\.1 103 /)
  t.match((await sendRaw(url, ask(NAVIGATION))).toString('latin1'), /^HTTP\/1\.1 302 /)
})

void t.test('hints without a final response end with a 502 for the client', async (t) => {
  const upstream = await startSockets(t, (socket) => {
    socket.once('data', () => socket.end(HINTS, 'latin1'))
  })
  const { url } = await startGateway(t, { idp, config: { upstream, routes: publicRoutes } })
  const text = (await sendRaw(url, ask(NAVIGATION))).toString('latin1')
  t.ok(text.startsWith(`${HINTS}HTTP/1.1 502 Bad Gateway\r\n`), text)
})

void t.test('early hints reach a navigation over HTTP/2, and no other request', async (t) => {
  const odd = 'HTTP/1.1 103 Early Hints\r\nContent-Type: a/b\r\nContent-Type: c/d\r\n\r\n'
  const upstream = await startSockets(t, (socket) => {
    socket.on('data', () => socket.write(HINTS + odd + HINTS + FINAL, 'latin1'))
  })
  const { url } = await startGateway(t, { idp, config: { upstream, routes: publicRoutes, listenH2c: true } })
  const session = connectHttp2(url)
  t.teardown(() => {
    session.destroy()
  })
  for (const [accept, count] of [
    ['text/html', 2],
    ['*/*', 0],
  ] as const) {
    const stream = session.request({ ':path': '/', accept })
    const hints: IncomingHttpHeaders[] = []
    stream.on('headers', (headers) => hints.push(headers))
    let status: number | undefined
    stream.on('response', (headers) => (status = headers[':status']))
    t.equal(await textOf(stream), 'ok')
    t.equal(status, 200)
    t.equal(hints.length, count, accept)
    for (const { ':status': interim, link } of hints) {
      t.equal(interim, 103)
      t.match(link, /^<\/a\.css>; rel=preload; as=style, <\/\xe9\.js>; rel="preload"; title="a b", .*crossorigin$/)
    }
  }
})
