import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { startIdp } from '../../../src/demo/idp.ts'
import { startApplication } from '../../support/application.ts'
import { createBrowser } from '../../support/browser.ts'
import { startGateway } from '../../support/gateway.ts'
import { openAndRead } from '../../support/raw-http.ts'
import { startSockets } from '../../support/sockets.ts'

// One provider for all gateways here: what it does is not what these tests are about.
const idp = await startIdp()
t.teardown(() => idp.close())

void t.test('an application that does not start its response in time is a 504', async (t) => {
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

void t.test('each route has its own timeout', async (t) => {
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

void t.test('a slow upload does not count as a slow response', async (t) => {
  const application = await startApplication(t, (req, res) => {
    req.resume().on('end', () => {
      res.end('all of it')
    })
  })
  t.match(await slowUpload(t, application.url), /^HTTP\/1\.1 200 [^]*all of it/)
})

void t.test('interim responses do not extend the timeout indefinitely', async (t) => {
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

void t.test('an interim response to a slow upload does not cause a timeout', async (t) => {
  const application = await startApplication(t, (req, res) => {
    res.writeProcessing()
    req.resume().on('end', () => {
      res.end('all of it')
    })
  })
  t.match(await slowUpload(t, application.url), /^HTTP\/1\.1 200 [^]*all of it/)
})

/** Uploads 8 bytes in 2.8 s through a route with a timeout of 1 s; returns all that comes back. */
async function slowUpload(t: Test, upstream: string): Promise<string> {
  const { url } = await startGateway(t, {
    idp,
    config: { upstream, routes: [{ path: '/**', access: 'public', timeout: '1s' }] },
  })
  const { socket, text } = openAndRead(url)
  socket.write('POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 8\r\n\r\n')
  for (let i = 0; i < 8; i += 1) {
    await sleep(350)
    socket.write('x')
  }
  await new Promise((resolve) => {
    socket.once('close', resolve)
  })
  return text()
}
