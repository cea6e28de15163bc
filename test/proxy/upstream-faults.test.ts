import { once } from 'node:events'
import t from 'tap'
import { startIdp } from '../../src/demo/idp.ts'
import { startApplication, until } from '../support/application.ts'
import { createBrowser } from '../support/browser.ts'
import { freePort } from '../support/free-port.ts'
import { startGateway } from '../support/gateway.ts'
import { ask, header, open, parseAnswers, sendRaw } from '../support/raw-http.ts'
import { startSockets } from '../support/sockets.ts'

// One provider for all gateways here: what it does is not what these tests are about.
const idp = await startIdp()
t.teardown(() => idp.close())

const everybody = [{ path: '/**', access: 'public' }]

void t.test('an application that is not there is a 502: a page for a person, a problem for a script', async (t) => {
  const { url, events } = await startGateway(t, {
    idp,
    config: { upstream: `http://127.0.0.1:${await freePort()}`, routes: everybody },
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
  t.notMatch(problem.body, /ECONNREFUSED|127\.0\.0\.1/, 'what is behind the gateway stays there')
  t.match(events('upstream_unreachable')[0], { cause: /ECONNREFUSED/ })
})

void t.test('a name that does not resolve is a 502', async (t) => {
  const { url } = await startGateway(t, { idp, config: { upstream: 'http://nowhere.invalid', routes: everybody } })
  t.equal((await ask(url, 'GET', '/')).status, 502)
})

void t.test('what is not HTTP is a 502', async (t) => {
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
    const { url } = await startGateway(t, { idp, config: { upstream, routes: everybody } })
    const answer = await ask(url, 'GET', '/')
    t.equal(answer.status, 502, JSON.stringify(nonsense))
    t.equal(header(answer, 'gatehouse'), 'upstream_unreachable')
  }
})

void t.test('an application that hangs up on an upload is a 502 for its client', async (t) => {
  const upstream = await startSockets(t, (socket) => {
    socket.once('data', () => {
      setTimeout(() => {
        socket.destroy()
      }, 20)
    })
  })
  const { url } = await startGateway(t, { idp, config: { upstream, routes: everybody } })
  for (const framing of ['Content-Length: 20000000', 'Transfer-Encoding: chunked']) {
    const socket = open(url)
    let text = ''
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString()
    })
    socket.write(
      'POST / HTTP/1.1\r\nHost: ' +
        `a\r\n${framing}\r\n\r\n${framing.startsWith('T') ? 'ffff\r\n' : ''}${'x'.repeat(10_000)}`,
    )
    await once(socket, 'data')
    socket.destroy()
    t.match(text, /^HTTP\/1\.1 502 [^]*upstream_unreachable/, framing)
  }
})

void t.test(
  'an application that answers before it has read the upload is heard, and the connection ends with that',
  async (t) => {
    for (const connection of ['Connection: close\r\n', '']) {
      const upstream = await startSockets(t, (socket) => {
        socket.once('data', () => {
          socket.write(`HTTP/1.1 413 Too Much\r\nContent-Length: 3\r\n${connection}\r\nno!`)
        })
      })
      const { url } = await startGateway(t, { idp, config: { upstream, routes: everybody } })
      for (const framing of ['Content-Length: 3000000', 'Transfer-Encoding: chunked']) {
        const socket = open(url)
        let text = ''
        socket.on('data', (chunk: Buffer) => {
          text += chunk.toString()
        })
        const size = framing.startsWith('T') ? '2dc6c0\r\n' : ''
        socket.write(`POST / HTTP/1.1\r\nHost: a\r\n${framing}\r\n\r\n${size}${'x'.repeat(10_000)}`)
        await until(() => text.includes('no!'))
        t.match(text, /^HTTP\/1\.1 413 Too Much\r\n[^]*connection: close\r\n/i, framing)
        // Whoever looks at the answer only at the end gets there, and what follows is no request any more.
        socket.write('x'.repeat(2_990_000) + (size === '' ? '' : '\r\n0\r\n\r\n'))
        socket.write('GET /second HTTP/1.1\r\nHost: a\r\n\r\n')
        await until(() => socket.closed)
        t.equal(text.match(/HTTP\/1\.1/g)?.length, 1, 'one answer')
      }
    }
  },
)

void t.test('an answer that begins before the upload has ended does not end the upload', async (t) => {
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
  const { url } = await startGateway(t, { idp, config: { upstream: application.url, routes: everybody } })
  const socket = open(url)
  let text = ''
  socket.on('data', (chunk: Buffer) => {
    text += chunk.toString()
  })
  socket.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\none,')
  await until(() => text.includes('one,'))
  socket.write('two,')
  await until(() => socket.closed)
  t.match(text, /connection: close[^]*begun,[^]*one,[^]*two,[^]*all/i)
})

void t.test('an idle connection that the application closes as it is taken again is no reason to fail', async (t) => {
  const upstream = await startSockets(t, (socket) => {
    let answered = 0
    socket.on('data', () => {
      answered += 1
      // The second request on a connection finds it closed, as when a keep-alive time-out strikes that very moment.
      if (answered > 1) socket.destroy()
      else socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok')
    })
  })
  const { url } = await startGateway(t, { idp, config: { upstream, routes: everybody } })
  for (let i = 0; i < 6; i += 1) t.equal((await ask(url, 'GET', `/${i}`)).status, 200, `request ${i}`)
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
  const { url } = await startGateway(t, { idp, config: { upstream, routes: everybody } })
  t.equal((await ask(url, 'GET', '/')).status, 200)
  t.equal((await ask(url, 'POST', '/', ['Content-Length: 0'])).status, 502)
  t.equal(posts, 1)
})

void t.test('interim answers are not mistaken for the answer', async (t) => {
  const upstream = await startSockets(t, (socket) => {
    socket.once('data', () => {
      socket.end('HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
    })
  })
  const { url } = await startGateway(t, { idp, config: { upstream, routes: everybody } })
  const [answer] = parseAnswers(await sendRaw(url, 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'))
  t.equal(answer?.status, 200)
  t.equal(answer?.body.toString(), 'ok')
})

void t.test(
  'a `100 Continue` that nobody has asked for is passed over, alone, beside others and beside the answer',
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
    const { url } = await startGateway(t, { idp, config: { upstream, routes: everybody } })
    for (const [i, mine] of pieces.entries()) {
      const answer = await ask(url, i % 2 === 0 ? 'GET' : 'POST', '/', i % 2 === 0 ? [] : ['Content-Length: 0'])
      t.equal(answer.status, 200, JSON.stringify(mine))
      t.equal(answer.body.toString(), hundred, 'and a body stays as it is')
    }
  },
)

void t.test('odd but lawful answers pass: unknown status codes, no reason, a body until the end', async (t) => {
  const upstream = await startSockets(t, (socket) => {
    socket.once('data', () => {
      socket.end('HTTP/1.1 599 \r\nX-Latin: caf\u00e9\r\n\r\nuntil the end')
    })
  })
  const { url } = await startGateway(t, { idp, config: { upstream, routes: everybody } })
  const answer = await ask(url, 'GET', '/')
  t.equal(answer.status, 599)
  t.equal(answer.body.toString(), 'until the end')
})

void t.test('a denial in the middle of an upload reaches the client', async (t) => {
  const { url } = await startGateway(t, { idp })
  const socket = open(url)
  let text = ''
  socket.on('data', (chunk: Buffer) => {
    text += chunk.toString()
  })
  socket.write(`POST /api/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5000000\r\n\r\n${'x'.repeat(100_000)}`)
  await once(socket, 'data')
  socket.destroy()
  t.match(text, /^HTTP\/1\.1 401 [^]*login_required/)
})

void t.test('the gateway outlives all of it', async (t) => {
  const upstream = await startSockets(t, (socket, count) => {
    socket.once('data', () => {
      if (count % 4 === 0) socket.destroy()
      else if (count % 4 === 1) socket.resetAndDestroy()
      else if (count % 4 === 2) socket.end('garbage')
      else socket.end('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort')
    })
  })
  const { url } = await startGateway(t, { idp, config: { upstream, routes: everybody } })
  await Promise.allSettled(
    Array.from({ length: 60 }, (_, i) => sendRaw(url, `GET /${i} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`)),
  )
  t.equal((await ask(url, 'GET', '/oauth2/session')).status, 401)
})
