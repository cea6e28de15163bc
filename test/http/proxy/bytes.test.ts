import t, { type Test } from 'tap'
import { startIdp } from '../../../src/demo/idp.ts'
import { freePort } from '../../support/free-port.ts'
import { startGateway } from '../../support/gateway.ts'
import { startNginx } from '../../support/nginx.ts'
import { ask, header, open, parseAnswers, sendRaw } from '../../support/raw-http.ts'
import { startSockets } from '../../support/sockets.ts'
import { eventually } from '../../support/eventually.ts'

// One provider for all gateways here: what it does is not what these tests are about.
const idp = await startIdp()
t.teardown(() => idp.close())

const publicRoutes = [{ path: '/**', access: 'public' }]

/** Strings stand for one byte a character, as everywhere on this side of the wire. */
const utf8 = (text: string): string => Buffer.from(text).toString('latin1')

const allBytes = Array.from({ length: 0x80 }, (_, i) => String.fromCharCode(0x80 + i)).join('')
const disposition = (name: string): string => `Content-Disposition: attachment; filename="${name}"`
const names = {
  utf8: utf8('отчёт.txt'),
  umlaut: utf8('Prüfung.txt'),
  latin1: 'Pr\xfcfung.txt',
  mixed: `${utf8('é')}\xe9.txt`,
  all: allBytes,
}

/** Odd, but lawful responses: each is sent in these pieces, some milliseconds apart. */
const answers: Record<string, readonly string[]> = {
  ...Object.fromEntries(
    Object.entries(names).flatMap(([name, value]) => {
      const [first, last] = ['Content-Length: 2', disposition(value)]
      return [
        [`a file name in ${name} behind the length`, [`HTTP/1.1 200 OK\r\n${first}\r\n${last}\r\n\r\nok`]],
        [`a file name in ${name} before the length`, [`HTTP/1.1 200 OK\r\n${last}\r\n${first}\r\n\r\nok`]],
        [
          `a file name in ${name}, chunked`,
          [`HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n${last}\r\n\r\n2\r\nok\r\n0\r\n\r\n`],
        ],
        [`a file name in ${name}, its body later`, [`HTTP/1.1 200 OK\r\n${first}\r\n${last}\r\n\r\n`, 'ok']],
        [
          `a file name in ${name}, in pieces`,
          [`HTTP/1.1 200 OK\r\n${first}\r\n${last.slice(0, -4)}`, `${last.slice(-4)}\r\n\r`, '\nok'],
        ],
        [
          `any header in ${name}`,
          [`HTTP/1.1 200 OK\r\n${first}\r\nX-Name: ${value}\r\nLocation: /${value}\r\nETag: "${value}"\r\n\r\nok`],
        ],
        [`any header in ${name}, its body later`, [`HTTP/1.1 404 No\r\n${first}\r\nX-Name: ${value}\r\n\r\n`, 'ok']],
        [
          `a cookie in ${name}`,
          [`HTTP/1.1 200 OK\r\nSet-Cookie: a=${value}; Path=/\r\nSet-Cookie: b=${value}\r\n${first}\r\n\r\nok`],
        ],
        [`a status text in ${name}`, [`HTTP/1.1 200 ${value}\r\n${first}\r\n\r\nok`]],
        [
          `a refusal in ${name}`,
          [`HTTP/1.1 401 ${value}\r\nWWW-Authenticate: Basic realm="${value}"\r\n${first}\r\n\r\nok`],
        ],
      ]
    }),
  ),
  'a status text in pieces': ['HTTP/1.1 404 Not ', 'Fo', 'und\r\nContent-Length: 2\r\n\r\nok'],
  'an empty status text': ['HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nok'],
  'an unknown status without a text': ['HTTP/1.1 599 \r\nContent-Length: 2\r\n\r\nok'],
  'empty values': ['HTTP/1.1 200 OK\r\nX-Empty:\r\nX-Blank:   \r\nX-Last: 1\r\nContent-Length: 2\r\n\r\nok'],
  'blanks inside of a value': ['HTTP/1.1 200 OK\r\nX-A: a \t  b\r\nContent-Length: 2\r\n\r\nok'],
  'the case of names, and names that are there twice': [
    'HTTP/1.1 200 OK\r\nx-A: 1\r\nX-a: 2\r\nX_A: 3\r\nVary: a\r\nX-A: 1\r\nvary: b\r\nCoNtEnT-LeNgTh: 2\r\n\r\nok',
  ],
  'every character of a name': ["HTTP/1.1 200 OK\r\n!#$%&'*+-.^_`|~09azAZ: 1\r\nContent-Length: 2\r\n\r\nok"],
  'hundreds of headers': [
    `HTTP/1.1 200 OK\r\n${Array.from({ length: 900 }, (_, i) => `X-${i}: ${i}\r\n`).join('')}Content-Length: 2\r\n\r\nok`,
  ],
  'odd cookies': [
    'HTTP/1.1 200 OK\r\nSet-Cookie: a="b\\c; d"; Expires=Thu, 01 Jan 2099 00:00:00 GMT\r\nSet-Cookie: =x\r\nSet-Cookie: \r\n' +
      'Set-Cookie: n\r\nSet-Cookie: a=b\xa0\r\nContent-Length: 2\r\n\r\nok',
  ],
  'an interim answer before it': [
    'HTTP/1.1 103 Early\r\nLink: </\xe9>\r\n\r\n',
    'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok',
  ],
  'a 100 in pieces before it': ['HTTP/1.1 10', '0 Continue\r\n\r', '\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'],
  'chunks with extensions, of odd sizes': [
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0002;a=b;c="d"\r\nok\r\n',
    '1;x\r\n!\r\n',
    '000\r\n\r\n',
  ],
  'HTTP/1.0, until its end': ['HTTP/1.0 200 OK\r\nX-Name: \xe9\r\n\r\n', 'ok'],
  'a 304 with a length': ['HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\nETag: "\xe9"\r\n\r\n'],
  'a 205 with a length': ['HTTP/1.1 205 Reset Content\r\nContent-Length: 2\r\n\r\nok'],
}

const HOP = /^(?:connection|keep-alive|transfer-encoding|date|x-request-id):/i

/** Parses the final response: status line without the version, end-to-end headers in order, and body. */
const read = (bytes: Buffer): { status: string; headers: string[]; length: string[]; body: string } => {
  const text = bytes.toString('latin1')
  if (/^HTTP\/1\.1 1\d\d /.test(text)) return read(bytes.subarray(text.indexOf('\r\n\r\n') + 4))
  const end = text.indexOf('\r\n\r\n')
  const [first = '', ...lines] = text.slice(0, end).split('\r\n')
  const isLength = (line: string): boolean => /^content-length:/i.test(line)
  const chunked = lines.some((line) => /^transfer-encoding: chunked/i.test(line))
  return {
    status: first.slice('HTTP/1.x '.length),
    headers: lines
      .filter((line) => !HOP.test(line) && !isLength(line))
      .map((line) => line.replace(/:[ \t]*(.*?)[ \t]*$/s, ': $1')),
    length: lines.filter(isLength),
    body: chunked ? unchunked(text.slice(end + 4)) : text.slice(end + 4),
  }
}

const unchunked = (text: string): string => {
  const [, size = '0', rest = ''] = /^([0-9a-f]+)[^\r]*\r\n(.*)$/is.exec(text) ?? []
  const length = Number.parseInt(size, 16)
  return length === 0 ? '' : rest.slice(0, length) + unchunked(rest.slice(length + 2))
}

/** An application that gives the response whose number is the path, then closes. */
const startOdd = async (t: Test): Promise<string> =>
  startSockets(t, (socket) => {
    socket.once('data', (head) => {
      const [, number = ''] = /^\S+ \/(\d+)/.exec(head.toString('latin1')) ?? []
      const pieces = Object.values(answers)[Number(number)] ?? []
      pieces.forEach((piece, i) => {
        setTimeout(() => {
          socket.write(piece, 'latin1')
          if (i === pieces.length - 1) socket.end()
        }, 15 * i)
      })
    })
  })

void t.test('response headers reach the client byte for byte', async (t) => {
  const application = await startOdd(t)
  const { url } = await startGateway(t, { idp, config: { upstream: application, routes: publicRoutes } })
  for (const [i, name] of Object.keys(answers).entries()) {
    const request = `GET /${i} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`
    const [bare, passed] = [read(await sendRaw(application, request)), read(await sendRaw(url, request))]
    t.same(passed, bare, name)
  }
})

void t.test('a file name stays the same behind nginx, which sends Content-Length first', async (t) => {
  const application = await startSockets(t, (socket) => {
    socket.once('data', () => {
      socket.end(`HTTP/1.1 200 OK\r\n${disposition(names.utf8)}\r\nContent-Length: 2\r\n\r\nok`, 'latin1')
    })
  })
  const port = await freePort()
  await startNginx(t, port, `server { listen 127.0.0.1:${port}; location / { proxy_pass ${application}; } }`)
  const upstream = `http://127.0.0.1:${port}`
  const { url } = await startGateway(t, { idp, config: { upstream, routes: publicRoutes } })
  const answer = await ask(url, 'GET', '/')
  t.equal(answer.status, 200)
  t.equal(header(answer, 'content-disposition'), disposition(names.utf8).slice('Content-Disposition: '.length))
})

void t.test('request headers reach the application byte for byte', async (t) => {
  let last = ''
  const upstream = await startSockets(t, (socket) => {
    let text = ''
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1')
      if (!text.endsWith('\r\n\r\n') && !text.endsWith('ok')) return
      last = text
      socket.end('HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n')
    })
  })
  const { url } = await startGateway(t, { idp, config: { upstream, routes: publicRoutes } })
  for (const [name, value] of Object.entries(names)) {
    const lines = [
      `X-Name: ${value}`,
      `x-NAME: ${value}`,
      `Content-Disposition: attachment; filename="${value}"`,
      `Referer: http://a/${value}`,
      `User-Agent: ${value}`,
      'X-Empty: ',
      `Cookie: a=${value}; b="${value}"; c=\xe0\xa0; d=\xc3\xa0; e; =f`,
      // A browser that writes UTF-8 ends "voilà" with a byte that is a space in Latin-1.
      `Cookie: word=${utf8('voilà')}`,
      `Authorization: Basic ${value}`,
    ]
    for (const [method, length, body] of [
      ['GET', [], ''],
      ['POST', ['Content-Length: 2'], 'ok'],
    ] as const) {
      const target = `/?q=%E9${encodeURIComponent(value)}`
      await sendRaw(
        url,
        [`${method} ${target} HTTP/1.1`, 'Host: a', ...lines, ...length, 'Connection: close', '', body].join('\r\n'),
      )
      const [first = '', ...got] = last.split('\r\n')
      t.equal(first, `${method} ${target} HTTP/1.1`, name)
      for (const line of lines) t.ok(got.includes(line), `${method}, ${name}: ${line.slice(0, 12)}`)
    }
  }
})

void t.test('responses to a WebSocket keep their bytes, both the 101 and a refusal', async (t) => {
  const upstream = await startSockets(t, (socket) => {
    socket.once('data', (head) => {
      const refuses = head.toString('latin1').startsWith('GET /no')
      socket.write(
        (refuses
          ? `HTTP/1.1 403 Nein: ${allBytes}\r\nContent-Length: 0`
          : `HTTP/1.1 101 Ja: ${allBytes}\r\nConnection: upgrade\r\nUpgrade: websocket`) +
          `\r\nX-Name: ${allBytes}\r\nX-name: ${names.mixed}\r\n\r\n`,
        'latin1',
      )
      setTimeout(() => socket.destroy(), 50)
    })
  })
  const { url } = await startGateway(t, { idp, config: { upstream, routes: publicRoutes } })
  const handshake =
    'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n'
  for (const [path, first] of [
    ['/yes', `101 Ja: ${allBytes}`],
    ['/no', `403 Nein: ${allBytes}`],
  ] as const) {
    const bytes = await sendRaw(url, `GET ${path} HTTP/1.1\r\nHost: a\r\n${handshake}X-Name: ${names.mixed}\r\n\r\n`)
    const [status, ...lines] = bytes.toString('latin1').split('\r\n')
    t.equal(status, `HTTP/1.1 ${first}`)
    t.ok(lines.includes(`X-Name: ${allBytes}`), path)
    t.ok(lines.includes(`X-name: ${names.mixed}`), path)
  }
})

/** Requests a path repeatedly on one connection, and returns the numbers of responses and of upstream connections. */
const askOften = async (
  t: Test,
  answer: string,
  method = 'GET',
  pipelined = false,
): Promise<{ statuses: number[]; connections: number; closed: boolean }> => {
  let connections = 0
  const upstream = await startSockets(t, (socket, count) => {
    connections = count
    socket.on('data', (chunk) => {
      for (const _ of chunk.toString('latin1').matchAll(/^\S+ \S+ HTTP/gm)) socket.write(answer)
    })
  })
  const { url } = await startGateway(t, { idp, config: { upstream, routes: publicRoutes } })
  const client = open(url)
  let bytes = Buffer.alloc(0)
  client.on('data', (chunk: Buffer) => {
    bytes = Buffer.concat([bytes, chunk])
  })
  const request = `${method} / HTTP/1.1\r\nHost: a\r\n\r\n`
  const count = (): number => bytes.toString('latin1').match(/HTTP\/1\.1 \d\d\d /g)?.length ?? 0
  for (let i = 1; i <= 8; i += 1) {
    client.write(request)
    if (!pipelined) await eventually(() => count() === i || client.closed, { what: `answer ${i} has arrived` })
  }
  await eventually(() => count() === 8 || client.closed, { what: 'all answers have arrived' })
  // Whether it stays open shows a moment later.
  client.write(request)
  await eventually(() => count() === 9 || client.closed, { what: 'one more answer has arrived' })
  const { closed } = client
  client.destroy()
  const methods = Array.from({ length: 9 }, () => method)
  return { statuses: parseAnswers(bytes, methods).map(({ status }) => status), connections, closed }
}

void t.test(
  'responses without a body keep the client’s connection, and the upstream’s except after a HEAD',
  async (t) => {
    for (const [answer, method] of [
      ['HTTP/1.1 304 Not Modified\r\nContent-Length: 4711\r\n\r\n', 'GET'],
      ['HTTP/1.1 304 Not Modified\r\nContent-Length: 4711\r\n\r\n', 'HEAD'],
      ['HTTP/1.1 304 Not Modified\r\n\r\n', 'GET'],
      ['HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n', 'GET'],
      ['HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n', 'DELETE'],
      ['HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n', 'GET'],
      ['HTTP/1.1 205 Reset Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n', 'GET'],
      ['HTTP/1.1 200 OK\r\nContent-Length: 4711\r\n\r\n', 'HEAD'],
      ['HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n', 'HEAD'],
    ] as const) {
      const what = `${method}: ${answer.slice(9, 60)}`
      const one = await askOften(t, answer, method)
      t.equal(one.closed, false, what)
      // A body that an application sends behind a HEAD would be the next client's response.
      t.equal(one.connections, method === 'HEAD' ? 9 : 1, what)
      const pipelined = await askOften(t, answer, method, true)
      t.equal(pipelined.closed, false, `${what}, pipelined`)
      t.same(
        pipelined.statuses,
        Array.from({ length: 9 }, () => Number(answer.slice(9, 12))),
        what,
      )
      t.ok(pipelined.connections <= (method === 'HEAD' ? 9 : 8), what)
    }
  },
)

void t.test('a late body after a HEAD is never another request’s response', async (t) => {
  const upstream = await startSockets(t, (socket) => {
    socket.on('data', (chunk) => {
      const isHead = chunk.toString('latin1').startsWith('HEAD')
      socket.write('HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 51\r\n\r\n')
      const body = 'HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\nfor another !'
      if (isHead) setTimeout(() => socket.write(body), 150)
      else setTimeout(() => socket.write('x'.repeat(51)), 300)
    })
  })
  const { url } = await startGateway(t, { idp, config: { upstream, routes: publicRoutes } })
  await sendRaw(url, 'HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
  const answer = await ask(url, 'GET', '/')
  t.equal(answer.body.toString(), 'x'.repeat(51))
})
