import t from 'tap'
import { startIdp } from '../../../src/demo/idp.ts'
import { startApplication } from '../../support/application.ts'
import { createBrowser } from '../../support/browser.ts'
import { startGateway } from '../../support/gateway.ts'
import { open } from '../../support/raw-http.ts'
import { startSockets } from '../../support/sockets.ts'

// One provider for all gateways here: what it does is not what these tests are about.
const idp = await startIdp()
t.teardown(() => idp.close())

void t.test('an application that does not begin to answer in time is a 504', async (t) => {
  const { url, events } = await startGateway(t, {
    idp,
    config: { routes: [{ path: '/**', access: 'public', timeout: '1s' }] },
  })
  const browser = createBrowser()
  const start = Date.now()
  const answer = await browser.get(`${url}/api/slow?ms=4000`, { kind: 'script' })
  t.ok(Date.now() - start < 3000, `after ${Date.now() - start} ms`)
  t.equal(answer.status, 504)
  t.equal(answer.headers.gatehouse, 'upstream_timeout')
  t.match(answer.json(), { status: 504, code: 'upstream_timeout' })
  t.match(events('upstream_timeout'), [{ route: '/**', cause: /UND_ERR_HEADERS_TIMEOUT/ }])
  const page = await browser.get(`${url}/api/slow?ms=4000`)
  t.equal(page.status, 504)
  t.match(page.headers['content-type'], /^text\/html/)
})

void t.test('each route has its own patience', async (t) => {
  const { url } = await startGateway(t, {
    idp,
    config: {
      routes: [
        { path: '/**', access: 'public', timeout: '1s' },
        { path: '/api/slow', access: 'public', timeout: '20s' },
      ],
    },
  })
  t.equal((await createBrowser().get(`${url}/api/slow?ms=2500`, { kind: 'script' })).status, 200)
})

void t.test('a slow upload does not count as a slow answer', async (t) => {
  const application = await startApplication(t, (req, res) => {
    req.resume().on('end', () => {
      res.end('all of it')
    })
  })
  const { url } = await startGateway(t, {
    idp,
    config: { upstream: application.url, routes: [{ path: '/**', access: 'public', timeout: '1s' }] },
  })
  const socket = open(url)
  let text = ''
  socket.on('data', (chunk: Buffer) => {
    text += chunk.toString()
  })
  socket.write('POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 8\r\n\r\n')
  for (let i = 0; i < 8; i += 1) {
    await new Promise((resolve) => {
      setTimeout(resolve, 350)
    })
    socket.write('x')
  }
  await new Promise((resolve) => {
    socket.once('close', resolve)
  })
  t.match(text, /^HTTP\/1\.1 200 [^]*all of it/)
})

void t.test('interim answers do not put the end of the wait off for ever', async (t) => {
  for (const interim of ['100 Continue', '102 Processing', '103 Early Hints']) {
    const upstream = await startSockets(t, (socket) => {
      const timer = setInterval(() => {
        socket.write(`HTTP/1.1 ${interim}\r\n\r\n`)
      }, 200)
      socket
        .on('close', () => {
          clearInterval(timer)
        })
        .resume()
    })
    const { url } = await startGateway(t, {
      idp,
      config: { upstream, routes: [{ path: '/**', access: 'public', timeout: '1s' }] },
    })
    const start = Date.now()
    const answer = await createBrowser().get(`${url}/`, { kind: 'script' })
    t.match([answer.status, answer.headers.gatehouse], [504, 'upstream_timeout'], interim)
    t.ok(Date.now() - start < 5000, `after ${Date.now() - start} ms`)
  }
})

void t.test('an interim answer to a slow upload does not make it too slow', async (t) => {
  const application = await startApplication(t, (req, res) => {
    res.writeProcessing()
    req.resume().on('end', () => {
      res.end('all of it')
    })
  })
  const { url } = await startGateway(t, {
    idp,
    config: { upstream: application.url, routes: [{ path: '/**', access: 'public', timeout: '1s' }] },
  })
  const socket = open(url)
  let text = ''
  socket.on('data', (chunk: Buffer) => {
    text += chunk.toString()
  })
  socket.write('POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 8\r\n\r\n')
  for (let i = 0; i < 8; i += 1) {
    await new Promise((resolve) => {
      setTimeout(resolve, 350)
    })
    socket.write('x')
  }
  await new Promise((resolve) => {
    socket.once('close', resolve)
  })
  t.match(text, /^HTTP\/1\.1 200 [^]*all of it/)
})
