import { once } from 'node:events'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { startIdp } from '../../../src/demo/idp.ts'
import { startApplication, type Application } from '../../support/application.ts'
import { eventually } from '../../support/eventually.ts'
import { createAuthority } from '../../support/certificates.ts'
import { freePort } from '../../support/free-port.ts'
import { startGateway, type Running } from '../../support/gateway.ts'
import { openAndRead, parseAnswers } from '../../support/raw-http.ts'

const idp = await startIdp()
t.teardown(() => idp.close())

const LARGE = 20_000_000
const UPGRADE =
  'GET /fast HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n' +
  'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n'
const CONNECT = 'CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n'

const get = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`

/** A gateway whose application answers `/slow` on `answerSlow()`, and streams at `/events`. */
async function start(
  t: Test,
): Promise<Running & { readonly application: Application; readonly answerSlow: () => void }> {
  const slow: (() => void)[] = []
  const application = await startApplication(t, (req, res) => {
    if (req.url === '/slow')
      slow.push(() => {
        res.end('slow')
      })
    else if (req.url === '/events') res.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: 1\n\n')
    else if (req.url === '/large') res.end(Buffer.alloc(LARGE))
    else if (req.url === '/broken') {
      res.writeHead(200, { 'content-length': '100' }).write('begun')
      setTimeout(() => {
        res.destroy()
      }, 50)
    } else {
      let size = 0
      req
        .on('data', (chunk: Buffer) => {
          size += chunk.length
        })
        .on('end', () => {
          res.end(`fast ${size}`)
        })
    }
  })
  const running = await startGateway(t, {
    idp,
    config: { upstream: application.url, routes: [{ path: '/**', access: 'public' }] },
  })
  return {
    ...running,
    application,
    answerSlow() {
      for (const answer of slow.splice(0)) answer()
    },
  }
}

async function openStreams({ gateway }: Running): Promise<number> {
  const text = await gateway.metrics.registry.metrics()
  return Number(/gatehouse_streams_open\{kind="event-stream"\} (\d+)/.exec(text)?.[1])
}

void t.test('an event stream queued behind another response is dropped when its client disconnects', async (t) => {
  const running = await start(t)
  const { socket } = openAndRead(running.url)
  socket.write(get('/slow') + get('/events').repeat(10))
  await eventually(() => running.application.requests.length === 11)
  let count = 0
  await eventually(() => {
    void openStreams(running).then((open) => {
      count = open
    })
    return count === 10
  })
  socket.destroy()
  await eventually(() => {
    void openStreams(running).then((open) => {
      count = open
    })
    return count === 0
  })
  t.equal(count, 0)
})

void t.test('100 Continue waits for the responses to earlier requests', async (t) => {
  const { url, application, answerSlow } = await start(t)
  const { socket, text, bytes } = openAndRead(url)
  socket.write(`${get('/slow')}POST /fast HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n`)
  await eventually(() => application.requests.length >= 1)
  await sleep(200)
  t.equal(text(), '', 'no answer is out of order')
  answerSlow()
  await eventually(() => text().endsWith('HTTP/1.1 100 Continue\r\n\r\n'))
  socket.write('hello')
  await eventually(() => text().includes('fast 5'))
  socket.destroy()
  const answers = parseAnswers(
    Buffer.from(bytes().toString('latin1').replace('HTTP/1.1 100 Continue\r\n\r\n', ''), 'latin1'),
  )
  t.same(
    answers.map(({ status, body }) => [status, body.toString()]),
    [
      [200, 'slow'],
      [200, 'fast 5'],
    ],
  )
})

void t.test('a client that sends its body without waiting for 100 Continue gets whole responses', async (t) => {
  const { url, application, answerSlow } = await start(t)
  const { socket, text } = openAndRead(url)
  socket.write(
    `${get('/slow')}POST /fast HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello${get('/fast')}`,
  )
  await eventually(() => application.requests.length === 3)
  await sleep(200)
  answerSlow()
  await eventually(() => text().includes('fast 0'))
  socket.destroy()
  t.match(
    text(),
    /^HTTP\/1\.1 200 [^]*\r\n\r\nslow(?:HTTP\/1\.1 100 Continue\r\n\r\n)?HTTP\/1\.1 200 [^]*fast 5HTTP\/1\.1 200 [^]*fast 0$/,
  )
  t.notMatch(text(), /\r\n\r\nHTTP\/1\.1 100/, 'no interim answer is inside a body')
})

for (const [what, bytes, status] of [
  ['garbage', 'NONSENSE\r\n\r\n', 400],
  ['a head that is too large', `GET / HTTP/1.1\r\nHost: a\r\nX: ${'x'.repeat(200_000)}\r\n\r\n`, 431],
  ['CONNECT', 'CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n', 405],
  ['an invalid body', 'POST /fast HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n', 400],
] as const) {
  void t.test(`${what} pipelined after a request is refused after its response`, async (t) => {
    const { url, application, answerSlow } = await start(t)
    const { socket, bytes: answered } = openAndRead(url)
    socket.write(get('/slow') + bytes)
    await eventually(() => application.requests.length >= 1)
    await sleep(200)
    t.equal(answered().length, 0, 'it is not taken for the answer to the request')
    answerSlow()
    await eventually(() => socket.closed)
    t.same(
      parseAnswers(answered()).map((answer) => answer.status),
      [200, status],
    )
  })
}

void t.test(
  'an upstream that breaks off a queued response ends the connection after the earlier response',
  async (t) => {
    const { url, application, answerSlow } = await start(t)
    const { socket, text } = openAndRead(url)
    socket.write(get('/slow') + get('/broken'))
    await eventually(() => application.requests.length === 2)
    await sleep(300)
    answerSlow()
    await eventually(() => socket.closed)
    t.match(text(), /^HTTP\/1\.1 200 [^]*\r\n\r\nslow/)
  },
)

for (const [what, bytes, status] of [
  ['an upgrade', UPGRADE, 400],
  ['a CONNECT', CONNECT, 405],
] as const) {
  void t.test(`${what} pipelined after a large response is refused once the response is sent whole`, async (t) => {
    const { url, events } = await start(t)
    for (const before of [get('/large'), get('/fast') + get('/large') + get('/fast')]) {
      const client = openAndRead(url)
      client.socket.write(before + bytes)
      await eventually(() => client.socket.closed, { timeoutMs: 10_000 })
      const answers = parseAnswers(client.bytes())
      t.equal(answers.at(-1)?.status, status)
      t.ok(answers.some(({ body }) => body.length === LARGE))
      t.equal(answers.length, before.split('GET').length)
    }
    await eventually(() => events('request').length === 6)
  })

  void t.test(`${what} pipelined after a started response does not cut the response short`, async (t) => {
    const { url, application } = await start(t)
    const client = openAndRead(url)
    client.socket.write(get('/large'))
    await eventually(() => client.bytes().length > 0 && application.requests.length === 1)
    client.socket.pause()
    client.socket.write(bytes)
    setTimeout(() => client.socket.resume(), 200)
    await eventually(() => client.socket.closed, { timeoutMs: 10_000 })
    const [first, second] = parseAnswers(client.bytes())
    t.equal(first?.body.length, LARGE)
    t.equal(second?.status, status)
  })

  void t.test(`a client that disconnects after ${what} ends the responses in progress`, async (t) => {
    const running = await start(t)
    for (const leave of ['end', 'destroy', 'resetAndDestroy'] as const) {
      const { socket, text } = openAndRead(running.url)
      socket.write(get('/events') + bytes)
      await eventually(() => text().includes('data: 1'))
      socket[leave]()
    }
    await eventually(() => running.events('request').length === 6)
    t.equal(await openStreams(running), 0)
  })
}

void t.test('a large response in place of a WebSocket arrives whole', async (t) => {
  const { url } = await start(t)
  const client = openAndRead(url)
  client.socket.write(UPGRADE.replace('/fast', '/large'))
  await eventually(() => client.socket.closed, { timeoutMs: 10_000 })
  t.equal(parseAnswers(client.bytes())[0]?.body.length, LARGE)
})

void t.test('a large response arrives whole, with any number of requests pipelined after it', async (t) => {
  const application = await startApplication(t, (req, res) => {
    res.end(req.url === '/large' ? Buffer.alloc(200_000) : 'fast')
  })
  const { cert, key } = createAuthority().issue(['127.0.0.1'])
  const files = t.testdir({ 'cert.pem': cert, 'key.pem': key })
  const port = await freePort()
  const secure = `https://127.0.0.1:${port}`
  await startGateway(t, {
    idp,
    port,
    publicUrl: secure,
    config: {
      upstream: application.url,
      routes: [{ path: '/**', access: 'public' }],
      tls: { certFile: join(files, 'cert.pem'), keyFile: join(files, 'key.pem') },
    },
  })
  for (let i = 0; i < 10; i += 1) {
    const client = openAndRead(secure)
    client.socket.write(get('/large') + get('/fast').repeat(1 + (i % 3)))
    await eventually(() => client.text().endsWith('fast') && client.text().length > 200_000)
    t.equal(parseAnswers(client.bytes())[0]?.body.length, 200_000)
    client.socket.destroy()
  }
})

void t.test('a request that arrives after a response with Connection: close is not handled', async (t) => {
  const { url, application, events } = await start(t)
  const { socket, text } = openAndRead(url)
  socket.write('GET /events HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n')
  await eventually(() => text().includes('data: 1'))
  t.match(text(), /\r\nConnection: close\r\n/)
  socket.write('POST /fast HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n')
  await sleep(300)
  t.equal(application.requests.length, 1)
  socket.destroy()
  await eventually(() => events('request').length === 2)
  t.match(events('request'), [{ method: 'GET' }, { method: 'POST', status: 499, aborted: true }])
})

void t.test('a CONNECT is answered, and its connection is closed even when the client keeps it open', async (t) => {
  const { url } = await start(t)
  const { socket, text } = openAndRead(url)
  socket.allowHalfOpen = true
  socket.write('CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n')
  await once(socket, 'end')
  // Writing to a connection that is closed on both sides causes an error.
  const talking = setInterval(() => socket.write('x'), 100)
  await eventually(() => socket.closed, { timeoutMs: 10_000 })
  clearInterval(talking)
  t.match(text(), /^HTTP\/1\.1 405 /)
})

void t.test('a client that pipelines endlessly is paused', async (t) => {
  const { url, application, answerSlow } = await start(t)
  const { socket, text } = openAndRead(url)
  const many = 200_000
  socket.write(get('/slow').repeat(many))
  await eventually(() => application.requests.length > 50)
  await sleep(1_000)
  t.ok(application.requests.length <= 101, `${application.requests.length} requests reached the application at once`)
  t.ok(socket.writableLength > 0, 'the rest has not been taken')
  const timer = setInterval(answerSlow, 5)
  await eventually(() => text().length > 0 && application.requests.length > 500, { timeoutMs: 20_000 })
  clearInterval(timer)
  t.pass('it goes on as answers are given')
  socket.destroy()
})
