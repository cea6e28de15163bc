import { once } from 'node:events'
import type { Socket } from 'node:net'
import t, { type Test } from 'tap'
import { startIdp } from '../../src/demo/idp.ts'
import { startApplication, until, type Application } from '../support/application.ts'
import { startGateway, type Running } from '../support/gateway.ts'
import { open, parseAnswers } from '../support/raw-http.ts'

const idp = await startIdp()
t.teardown(() => idp.close())

type Client = { readonly socket: Socket; readonly text: () => string; readonly bytes: () => Buffer }

function connectTo(url: string): Client {
  const socket = open(url)
  const chunks: Buffer[] = []
  socket.on('data', (chunk: Buffer) => {
    chunks.push(chunk)
  })
  const bytes = (): Buffer => Buffer.concat(chunks)
  return { socket, bytes, text: () => bytes().toString('latin1') }
}

const get = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`

/** A gateway whose application answers `/slow` when told to, and streams at `/events`. */
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

void t.test('an event stream that waits behind another answer is forgotten when its client leaves', async (t) => {
  const running = await start(t)
  const { socket } = connectTo(running.url)
  socket.write(get('/slow') + get('/events').repeat(10))
  await until(() => running.application.requests.length === 11)
  let count = 0
  await until(() => {
    void openStreams(running).then((open) => {
      count = open
    })
    return count === 10
  })
  socket.destroy()
  await until(() => {
    void openStreams(running).then((open) => {
      count = open
    })
    return count === 0
  })
  t.equal(count, 0)
})

void t.test('100 Continue waits for the answers to earlier requests', async (t) => {
  const { url, application, answerSlow } = await start(t)
  const { socket, text, bytes } = connectTo(url)
  socket.write(`${get('/slow')}POST /fast HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n`)
  await until(() => application.requests.length >= 1)
  await new Promise((resolve) => {
    setTimeout(resolve, 200)
  })
  t.equal(text(), '', 'nothing is said out of order')
  answerSlow()
  await until(() => text().endsWith('HTTP/1.1 100 Continue\r\n\r\n'))
  socket.write('hello')
  await until(() => text().includes('fast 5'))
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

void t.test('a client that sends its body without waiting for 100 Continue gets whole answers', async (t) => {
  const { url, application, answerSlow } = await start(t)
  const { socket, text } = connectTo(url)
  socket.write(
    `${get('/slow')}POST /fast HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello${get('/fast')}`,
  )
  await until(() => application.requests.length === 3)
  await new Promise((resolve) => {
    setTimeout(resolve, 200)
  })
  answerSlow()
  await until(() => text().includes('fast 0'))
  socket.destroy()
  t.match(
    text(),
    /^HTTP\/1\.1 200 [^]*\r\n\r\nslow(?:HTTP\/1\.1 100 Continue\r\n\r\n)?HTTP\/1\.1 200 [^]*fast 5HTTP\/1\.1 200 [^]*fast 0$/,
  )
  t.notMatch(text(), /\r\n\r\nHTTP\/1\.1 100/, 'no interim answer is in the place of a body')
})

for (const [what, bytes, status] of [
  ['garbage', 'NONSENSE\r\n\r\n', 400],
  ['a head that is too large', `GET / HTTP/1.1\r\nHost: a\r\nX: ${'x'.repeat(200_000)}\r\n\r\n`, 431],
  ['CONNECT', 'CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n', 405],
  ['a body that is none', 'POST /fast HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n', 400],
] as const) {
  void t.test(`${what} behind a request is refused behind its answer`, async (t) => {
    const { url, application, answerSlow } = await start(t)
    const { socket, bytes: answered } = connectTo(url)
    socket.write(get('/slow') + bytes)
    await until(() => application.requests.length >= 1)
    await new Promise((resolve) => {
      setTimeout(resolve, 200)
    })
    t.equal(answered().length, 0, 'it is not taken for the answer to the request')
    answerSlow()
    await until(() => socket.closed)
    t.same(
      parseAnswers(answered()).map((answer) => answer.status),
      [200, status],
    )
  })
}

void t.test(
  'an upstream that breaks off an answer which waits ends the connection, behind the earlier answer',
  async (t) => {
    const { url, application, answerSlow } = await start(t)
    const { socket, text } = connectTo(url)
    socket.write(get('/slow') + get('/broken'))
    await until(() => application.requests.length === 2)
    await new Promise((resolve) => {
      setTimeout(resolve, 300)
    })
    answerSlow()
    await until(() => socket.closed)
    t.match(text(), /^HTTP\/1\.1 200 [^]*\r\n\r\nslow/)
  },
)

void t.test('a request that comes after an answer has said that it is the last one is not carried out', async (t) => {
  const { url, application, events } = await start(t)
  const { socket, text } = connectTo(url)
  socket.write('GET /events HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n')
  await until(() => text().includes('data: 1'))
  t.match(text(), /\r\nConnection: close\r\n/)
  socket.write('POST /fast HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n')
  await new Promise((resolve) => {
    setTimeout(resolve, 300)
  })
  t.equal(application.requests.length, 1)
  socket.destroy()
  await until(() => events('request').length === 2)
  t.match(events('request'), [{ method: 'GET' }, { method: 'POST', status: 499, aborted: true }])
})

void t.test('a CONNECT is answered, and its connection is closed even when the client keeps it open', async (t) => {
  const { url } = await start(t)
  const { socket, text } = connectTo(url)
  socket.allowHalfOpen = true
  socket.write('CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n')
  await once(socket, 'end')
  // Who writes to a connection that is closed on both sides is told.
  const talking = setInterval(() => socket.write('x'), 100)
  await until(() => socket.closed, 10_000)
  clearInterval(talking)
  t.match(text(), /^HTTP\/1\.1 405 /)
})

void t.test('a client that pipelines without end is not read without end', async (t) => {
  const { url, application, answerSlow } = await start(t)
  const { socket, text } = connectTo(url)
  const many = 200_000
  socket.write(get('/slow').repeat(many))
  await until(() => application.requests.length > 50)
  await new Promise((resolve) => {
    setTimeout(resolve, 1_000)
  })
  t.ok(application.requests.length <= 101, `${application.requests.length} requests reached the application at once`)
  t.ok(socket.writableLength > 0, 'the rest has not been taken')
  const timer = setInterval(answerSlow, 5)
  await until(() => text().length > 0 && application.requests.length > 500, 20_000)
  clearInterval(timer)
  t.pass('it goes on as answers are given')
  socket.destroy()
})
