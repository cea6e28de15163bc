import { once } from 'node:events'
import t from 'tap'
import { startIdp } from '../../../src/demo/idp.ts'
import { startApplication } from '../../support/application.ts'
import { eventually } from '../../support/eventually.ts'
import { createBrowser } from '../../support/browser.ts'
import { freePort } from '../../support/free-port.ts'
import { startGateway } from '../../support/gateway.ts'
import { ask, header, openAndRead, parseAnswers, sendRaw } from '../../support/raw-http.ts'
import { startSockets } from '../../support/sockets.ts'

// One provider for all gateways here: what it does is not what these tests are about.
const idp = await startIdp()
t.teardown(() => idp.close())

const publicRoutes = [{ path: '/**', access: 'public' }]

void t.test('an unreachable application is a 502, as a page for a navigation and a problem for a script', async (t) => {
  const { url, events } = await startGateway(t, {
    idp,
    config: { upstream: `http://127.0.0.1:${await freePort()}`, routes: publicRoutes },
  })
  const browser = createBrowser()
  const page = await browser.get(`${url}/orders`)
  t.equal(page.status, 502)
  t.match(page.headers['content-type'], /^text\/html/)
  t.match(page.body, /Request [\w-]+/)
  const problem = await browser.get(`${url}/orders`, { kind: 'script' })
  t.equal(problem.status, 502)
  t.equal(problem.headers.gatehouse, 'upstream_unreachable')
  t.equal(problem.headers['cache-control'], 'no-store')
  t.match(problem.json(), { status: 502, code: 'upstream_unreachable', title: /.+/, detail: /.+/ })
  t.notMatch(problem.body, /ECONNREFUSED|127\.0\.0\.1/, 'the answer reveals nothing about the upstream')
  t.match(events('upstream_unreachable')[0], { cause: /ECONNREFUSED/ })
})

void t.test('a name that does not resolve is a 502', async (t) => {
  const { url } = await startGateway(t, { idp, config: { upstream: 'http://nowhere.invalid', routes: publicRoutes } })
  t.equal((await ask(url, 'GET', '/')).status, 502)
})

void t.test('a response that is not HTTP is a 502', async (t) => {
  for (const nonsense of [
    'SSH-2.0-OpenSSH\r\n',
    'HTTP/1.1 abc\r\n\r\n',
    '',
    'HTTP/1.1 200 OK\r\nBad Header\r\n\r\n',
    'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello',
  ]) {
    const upstream = await startSockets(t, (socket) => {
      socket.once('data', () => {
        socket.end(nonsense)
      })
    })
    const { url } = await startGateway(t, { idp, config: { upstream, routes: publicRoutes } })
    const answer = await ask(url, 'GET', '/')
    t.equal(answer.status, 502, JSON.stringify(nonsense))
    t.equal(header(answer, 'gatehouse'), 'upstream_unreachable')
  }
})

void t.test('an application that disconnects during an upload is a 502 for its client', async (t) => {
  const upstream = await startSockets(t, (socket) => {
    socket.once('data', () => {
      setTimeout(() => {
        socket.destroy()
      }, 20)
    })
  })
  const { url } = await startGateway(t, { idp, config: { upstream, routes: publicRoutes } })
  for (const framing of ['Content-Length: 20000000', 'Transfer-Encoding: chunked']) {
    const { socket, text } = openAndRead(url)
    socket.write(
      'POST / HTTP/1.1\r\nHost: ' +
        `a\r\n${framing}\r\n\r\n${framing.startsWith('T') ? 'ffff\r\n' : ''}${'x'.repeat(10_000)}`,
    )
    await once(socket, 'data')
    socket.destroy()
    t.match(text(), /^HTTP\/1\.1 502 [^]*upstream_unreachable/, framing)
  }
})

void t.test('a response before the end of the upload reaches the client, and the connection then ends', async (t) => {
  for (const connection of ['Connection: close\r\n', '']) {
    const upstream = await startSockets(t, (socket) => {
      socket.once('data', () => {
        socket.write(`HTTP/1.1 413 Too Much\r\nContent-Length: 3\r\n${connection}\r\nno!`)
      })
    })
    const { url } = await startGateway(t, { idp, config: { upstream, routes: publicRoutes } })
    for (const framing of ['Content-Length: 3000000', 'Transfer-Encoding: chunked']) {
      const { socket, text } = openAndRead(url)
      const size = framing.startsWith('T') ? '2dc6c0\r\n' : ''
      socket.write(`POST / HTTP/1.1\r\nHost: a\r\n${framing}\r\n\r\n${size}${'x'.repeat(10_000)}`)
      await eventually(() => text().includes('no!'))
      t.match(text(), /^HTTP\/1\.1 413 Too Much\r\n[^]*connection: close\r\n/i, framing)
      // A reader that checks the response only at its end gets there, and the following bytes are not a request.
      socket.write('x'.repeat(2_990_000) + (size === '' ? '' : '\r\n0\r\n\r\n'))
      socket.write('GET /second HTTP/1.1\r\nHost: a\r\n\r\n')
      await eventually(() => socket.closed)
      t.equal(text().match(/HTTP\/1\.1/g)?.length, 1, 'one answer')
    }
  }
})

void t.test('a response that starts before the upload has ended does not end the upload', async (t) => {
  const application = await startApplication(t, (req, res) => {
    res.write('begun,')
    req
      .on('data', (chunk: Buffer) => {
        res.write(chunk)
      })
      .on('end', () => {
        res.end('all')
      })
  })
  const { url } = await startGateway(t, { idp, config: { upstream: application.url, routes: publicRoutes } })
  const { socket, text } = openAndRead(url)
  socket.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\none,')
  await eventually(() => text().includes('one,'))
  socket.write('two,')
  await eventually(() => socket.closed)
  t.match(text(), /connection: close[^]*begun,[^]*one,[^]*two,[^]*all/i)
})

void t.test('an idle connection that the application closes on reuse does not fail the request', async (t) => {
  const upstream = await startSockets(t, (socket) => {
    let answered = 0
    socket.on('data', () => {
      answered += 1
      // The second request on a connection finds it closed, as when a keep-alive time-out strikes that very moment.
      if (answered > 1) socket.destroy()
      else socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok')
    })
  })
  const { url } = await startGateway(t, { idp, config: { upstream, routes: publicRoutes } })
  for (let i = 0; i < 6; i += 1) t.equal((await ask(url, 'GET', `/${i}`)).status, 200, `request ${i}`)
})

void t.test('a request on a new connection is sent once, even if it fails', async (t) => {
  for (const end of ['destroy', 'resetAndDestroy'] as const) {
    let requests = 0
    const upstream = await startSockets(t, (socket) => {
      socket.on('data', () => {
        requests += 1
        socket[end]()
      })
    })
    const { url } = await startGateway(t, { idp, config: { upstream, routes: publicRoutes } })
    t.equal((await ask(url, 'GET', '/')).status, 502)
    t.equal(requests, 1, end)
  }
})

void t.test('a request on a reused connection is retried once', async (t) => {
  for (const end of ['destroy', 'resetAndDestroy'] as const) {
    let requests = 0
    const upstream = await startSockets(t, (socket, count) => {
      let answered = 0
      socket.on('data', () => {
        requests += 1
        answered += 1
        if (count === 1 && answered === 1) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
        else socket[end]()
      })
    })
    const { url } = await startGateway(t, { idp, config: { upstream, routes: publicRoutes } })
    t.equal((await ask(url, 'GET', '/')).status, 200)
    t.equal((await ask(url, 'GET', '/')).status, 502)
    t.equal(requests, 3, end)
  }
})

void t.test('a POST is never sent twice', async (t) => {
  let posts = 0
  const upstream = await startSockets(t, (socket) => {
    socket.on('data', (chunk) => {
      if (!chunk.toString().startsWith('POST')) {
        socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
        return
      }
      posts += 1
      socket.destroy()
    })
  })
  const { url } = await startGateway(t, { idp, config: { upstream, routes: publicRoutes } })
  t.equal((await ask(url, 'GET', '/')).status, 200)
  t.equal((await ask(url, 'POST', '/', ['Content-Length: 0'])).status, 502)
  t.equal(posts, 1)
})

void t.test('interim responses are not taken for the final response', async (t) => {
  const upstream = await startSockets(t, (socket) => {
    socket.once('data', () => {
      socket.end('HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
    })
  })
  const { url } = await startGateway(t, { idp, config: { upstream, routes: publicRoutes } })
  const [answer] = parseAnswers(await sendRaw(url, 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'))
  t.equal(answer?.status, 200)
  t.equal(answer?.body.toString(), 'ok')
})

void t.test(
  'an unsolicited `100 Continue` is skipped, alone, among other interim responses and with the final response',
  async (t) => {
    const [hundred, hints, final] = [
      'HTTP/1.1 100 Continue\r\n\r\n',
      'HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n',
      'HTTP/1.1 200 OK\r\nContent-Length: 25\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n',
    ]
    const pieces = [
      [hundred, final],
      [hundred + final],
      [hundred, hundred, final],
      [hints + hundred + final],
      [hundred + hints, final],
      [hints, hundred + final],
    ]
    const upstream = await startSockets(t, (socket) => {
      // One connection for all: what follows on it is read as before.
      let asked = 0
      socket.on('data', () => {
        const mine = pieces[asked] ?? []
        asked += 1
        mine.forEach((piece, i) => {
          setTimeout(() => {
            socket.write(piece)
          }, 20 * i)
        })
      })
    })
    const { url } = await startGateway(t, { idp, config: { upstream, routes: publicRoutes } })
    for (const [i, mine] of pieces.entries()) {
      const answer = await ask(url, i % 2 === 0 ? 'GET' : 'POST', '/', i % 2 === 0 ? [] : ['Content-Length: 0'])
      t.equal(answer.status, 200, JSON.stringify(mine))
      t.equal(answer.body.toString(), hundred, 'and a body stays as it is')
    }
  },
)

void t.test(
  'odd but valid responses pass: unknown status codes, no reason phrase, a body until the connection closes',
  async (t) => {
    const upstream = await startSockets(t, (socket) => {
      socket.once('data', () => {
        socket.end('HTTP/1.1 599 \r\nX-Latin: caf\u00e9\r\n\r\nuntil the end')
      })
    })
    const { url } = await startGateway(t, { idp, config: { upstream, routes: publicRoutes } })
    const answer = await ask(url, 'GET', '/')
    t.equal(answer.status, 599)
    t.equal(answer.body.toString(), 'until the end')
  },
)

void t.test('a denial during an upload reaches the client', async (t) => {
  const { url } = await startGateway(t, { idp })
  const { socket, text } = openAndRead(url)
  socket.write(`POST /api/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5000000\r\n\r\n${'x'.repeat(100_000)}`)
  await once(socket, 'data')
  socket.destroy()
  t.match(text(), /^HTTP\/1\.1 401 [^]*login_required/)
})

void t.test('the gateway survives all of these faults', async (t) => {
  const upstream = await startSockets(t, (socket, count) => {
    socket.once('data', () => {
      if (count % 4 === 0) socket.destroy()
      else if (count % 4 === 1) socket.resetAndDestroy()
      else if (count % 4 === 2) socket.end('garbage')
      else socket.end('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort')
    })
  })
  const { url } = await startGateway(t, { idp, config: { upstream, routes: publicRoutes } })
  await Promise.allSettled(
    Array.from({ length: 60 }, (_, i) => sendRaw(url, `GET /${i} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`)),
  )
  t.equal((await ask(url, 'GET', '/oauth2/session')).status, 401)
})

void t.test('the log says what is wrong with a response, and does not report it as missing', async (t) => {
  const secret = 'c2VjcmV0LXNlY3JldA'
  const head = `HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Before: ${secret}\r\n`
  for (const [answer, cause] of [
    [`${head}Bad Header: ${secret}\r\n\r\nok`, /Invalid header token\), in the header Bad Header$/],
    [`${head}Bad : ${secret}\r\n\r\nok`, /in the header Bad$/],
    [`${head}${secret}\r\n\r\nok`, /Invalid header token\), behind the header X-Before$/],
    [`${head}: ${secret}\r\n\r\nok`, /behind the header X-Before$/],
    [`${head}X-Folded: ${secret}\r\n ${secret}\r\n\r\nok`, /Unexpected whitespace .*header X-Folded/],
    [`${head}X-Control: ${secret}\x01\r\n\r\nok`, /Invalid header value char\), in the header X-Control$/],
    [`${head}X-Nul: ${secret}\0\r\n\r\nok`, /in the header X-Nul$/],
    [`${head}X-Bare: ${secret}\n\r\nok`, /CR.*X-Bare/],
    [`${head}X-End: ${secret}\r\n\nok`, /X-End/],
    [`${head}Content-Length: 2\r\n\r\nok`, /Content-Length/],
    [`${head}Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n`, /Transfer-Encoding/],
    [[`${head}X-Cut: ${secret}`, `-my ${secret}: x\x01\r\n\r\nok`], /header X-(?:Cut|Before)$/],
    ['HTTP/1.1 200 OK\r\nContent-Length: 2x\r\n\r\nok', /Content-Length/],
    ['HTTP/1.1 200 OK\nContent-Length: 2\n\nok', /Missing expected CR/],
    ['HTTP/1.1 099 Low\r\nContent-Length: 2\r\n\r\nok', /status 99/],
    ['HTTP/1.1 1000 High\r\nContent-Length: 2\r\n\r\nok', /Invalid response status/],
    ['SSH-2.0-OpenSSH\r\n', /Expected HTTP/],
    ['HTTP/1.1 200 OK\r\nContent-Le', /other side closed/],
    ['HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n', /upgrade/],
    [
      `HTTP/1.1 200 OK\r\nX-Long: ${secret.repeat(4000)}\r\nX-Behind: 1\r\n\r\nok`,
      /more than limits\.answerHeaders, in the header X-Long$/,
    ],
    [
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n',
      /the header Transfer-Encoding has a transfer coding .*gzip/,
    ],
    [
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
      /the header Transfer-Encoding has a transfer coding .*gzip/,
    ],
    [
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok',
      /the header Transfer-Encoding has a transfer coding .*gzip/,
    ],
  ] as const) {
    const [first = '', ...more] = typeof answer === 'string' ? [answer] : answer
    let requests = 0
    const upstream = await startSockets(t, (socket) => {
      socket.once('data', () => {
        requests += 1
        socket.write(first, 'latin1')
        setTimeout(() => socket.end(more.join(''), 'latin1'), more.length * 30)
      })
    })
    const { url, log, events } = await startGateway(t, { idp, config: { upstream, routes: publicRoutes } })
    const what = JSON.stringify(first.replaceAll(secret, '…').slice(0, 100))
    const bytes = await sendRaw(url, 'GET / HTTP/1.1\r\nHost: a\r\nAccept: text/html\r\nConnection: close\r\n\r\n')
    const text = bytes.toString()
    t.match(text, /^HTTP\/1\.1 502 Bad Gateway\r\n/, what)
    t.match(text, /gatehouse: upstream_unreachable/i, what)
    t.notMatch(text, /be reached|unreachable</, what)
    t.match(text, /can’t be passed on/, what)
    t.match(events('upstream_unreachable')[0]?.['cause'], cause, what)
    t.notMatch(log.join(''), secret, what)
    t.equal(requests, 1, 'an answered request is not repeated')
  }
})

void t.test('`Transfer-Encoding: identity` counts as no coding', async (t) => {
  const upstream = await startSockets(t, (socket) => {
    socket.once('data', () => {
      socket.end('HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nuntil the end')
    })
  })
  const { url } = await startGateway(t, { idp, config: { upstream, routes: publicRoutes } })
  t.equal((await ask(url, 'GET', '/')).body.toString(), 'until the end')
})

void t.test('a request whose transfer coding would be lost is a 501', async (t) => {
  const { url, upstream } = await startGateway(t, { idp, config: { routes: publicRoutes } })
  for (const framing of [
    'Transfer-Encoding: gzip, chunked',
    'Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked',
    'Transfer-Encoding: x;a=b, Chunked',
  ]) {
    for (const path of ['/', '/oauth2/logout']) {
      const request = `POST ${path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n${framing}\r\n\r\n2\r\nok\r\n0\r\n\r\n`
      const [answer, ...more] = parseAnswers(await sendRaw(url, request))
      t.equal(answer?.status, 501, framing)
      t.same(answer?.headers.get('gatehouse'), ['bad_request'])
      t.equal(more.length, 0)
    }
  }
  t.equal(upstream.requests.length, 0)
  const plain = `POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: Chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n`
  t.equal(parseAnswers(await sendRaw(url, plain))[0]?.status, 200)
})
