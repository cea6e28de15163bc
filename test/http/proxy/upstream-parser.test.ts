import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { startIdp } from '../../../src/demo/idp.ts'
import { startGateway } from '../../support/gateway.ts'
import { ask, open, parseAnswers, sendRaw } from '../../support/raw-http.ts'
import { startSockets } from '../../support/sockets.ts'

// One provider for all gateways here: what it does is not what these tests are about.
const idp = await startIdp()
t.teardown(() => idp.close())

type Row = {
  readonly what: string
  /** The bytes of the response; the application then ends the connection, unless `stays`. */
  readonly bytes: string
  readonly stays?: true
  /** The cause of the 502 of a strict route, or `null` if the response passes. */
  readonly strict: RegExp | null
  /** The strict parser has passed the head on before it finds the error, so the response breaks off. */
  readonly afterHead?: true
  /** The cause of the 502 of a lenient route, or `null` if the response passes. */
  readonly lenient: RegExp | null
  /** The status of a response that passes; 200 by default. */
  readonly status?: number
  /** The body of a response that passes; `ok` by default. */
  readonly body?: string
}

const withoutFraming = 'HTTP/1.1 200 OK\r\nX-A: 1\r\n'
const chunked = `${withoutFraming}Transfer-Encoding: chunked\r\n\r\n`

const ROWS: readonly Row[] = [
  {
    what: 'all lines end with a bare LF',
    bytes: 'HTTP/1.1 200 OK\nX-A: 1\nContent-Length: 2\n\nok',
    stays: true,
    strict: /Missing expected CR/,
    lenient: null,
  },
  {
    what: 'one header line ends with a bare LF',
    bytes: 'HTTP/1.1 200 OK\r\nX-A: 1\nContent-Length: 2\r\n\r\nok',
    stays: true,
    strict: /CR.*in the header X-A/,
    lenient: null,
  },
  {
    what: 'only the empty line is a bare LF',
    bytes: 'HTTP/1.1 200 OK\r\nX-A: 1\r\nContent-Length: 2\r\n\nok',
    stays: true,
    strict: /header field char\), behind the header Content-Length$/,
    lenient: null,
  },
  {
    what: 'bare LF lines and a body until the end of the connection (CGI)',
    bytes: 'HTTP/1.0 200 OK\nX-A: 1\n\nok',
    strict: /Missing expected CR/,
    lenient: null,
  },
  {
    what: 'bare LF lines without a header',
    bytes: 'HTTP/1.0 200 OK\n\nok',
    strict: /Missing expected CR/,
    lenient: null,
  },
  {
    what: 'bare LF in a chunked body',
    bytes: 'HTTP/1.1 200 OK\nX-A: 1\nTransfer-Encoding: chunked\n\n2\nok\n0\n\n',
    stays: true,
    strict: /Missing expected CR/,
    lenient: null,
  },
  {
    what: 'bare LF in a chunked body, whose data begins and ends with LF',
    bytes: `HTTP/1.1 200 OK\nX-A: 1\nTransfer-Encoding: chunked\n\n3\n\nok\n3;a=b\nok\n\n2 \n\r\n\n0\nX-Sum: 1\n\n`,
    stays: true,
    strict: /Missing expected CR/,
    lenient: null,
    body: '\nokok\n\r\n',
  },
  {
    what: 'an interim response with bare LF',
    bytes: 'HTTP/1.1 103 Early Hints\nLink: </a.css>\n\nHTTP/1.1 200 OK\nX-A: 1\nContent-Length: 2\n\nok',
    stays: true,
    strict: /Missing expected CR/,
    lenient: null,
  },
  {
    what: 'the same Content-Length twice',
    bytes: `${withoutFraming}Content-Length: 2\r\nContent-Length: 2\r\n\r\nok`,
    stays: true,
    strict: /Duplicate Content-Length\), in the header Content-Length$/,
    lenient: null,
  },
  {
    what: 'the same Content-Length three times, with other headers between',
    bytes:
      'HTTP/1.1 200 OK\r\ncontent-length: 2\r\nX-A: 1\r\nContent-Length: 2\r\nX-B: 2\r\nCONTENT-LENGTH:2\r\n\r\nok',
    stays: true,
    strict: /Duplicate Content-Length/,
    lenient: null,
  },
  {
    what: 'the same Content-Length twice with a keep-alive of its own, behind an interim response',
    bytes:
      'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 Fine & Good\r\nX-A: 1\r\nX-B: f\xfcnf\r\nConnection: keep-alive\r\nKeep-Alive: timeout=9\r\n' +
      'Content-Length: 2\r\nContent-Length: 2\r\n\r\nok',
    stays: true,
    strict: /Duplicate Content-Length/,
    lenient: null,
  },
  {
    what: 'two lengths that differ',
    bytes: `${withoutFraming}Content-Length: 2\r\nContent-Length: 3\r\n\r\nok`,
    strict: /Duplicate Content-Length\), in the header Content-Length$/,
    lenient: /two lengths that differ, in the header Content-Length$/,
  },
  {
    what: 'three lengths, of which one differs',
    bytes: `${withoutFraming}Content-Length: 2\r\nContent-Length: 3\r\nContent-Length: 2\r\n\r\nok`,
    strict: /in the header Content-Length$/,
    lenient: /two lengths that differ, in the header Content-Length$/,
  },
  {
    what: 'a list of equal lengths',
    bytes: `${withoutFraming}Content-Length: 2, 2\r\n\r\nok`,
    strict: /Invalid character in Content-Length\), in the header Content-Length$/,
    lenient: /Invalid character in Content-Length\), in the header Content-Length$/,
  },
  {
    what: 'Content-Length, then Transfer-Encoding',
    bytes: `${withoutFraming}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n`,
    strict: /Transfer-Encoding can't be present with Content-Length\), in the header Transfer-Encoding$/,
    lenient: /Transfer-Encoding can't be present with Content-Length\), in the header Transfer-Encoding$/,
  },
  {
    what: 'Transfer-Encoding, then Content-Length',
    bytes: `${withoutFraming}Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\nok\r\n0\r\n\r\n`,
    strict: /Content-Length can't be present with Transfer-Encoding\), in the header Content-Length$/,
    lenient: /Content-Length can't be present with Transfer-Encoding\), in the header Content-Length$/,
  },
  {
    what: 'two equal lengths, then Transfer-Encoding',
    bytes: `${withoutFraming}Content-Length: 2\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n`,
    strict: /Duplicate Content-Length/,
    lenient: /Transfer-Encoding can't be present with Content-Length\), in the header Transfer-Encoding$/,
  },
  {
    what: 'a length, Transfer-Encoding, and the length again',
    bytes: `${withoutFraming}Content-Length: 2\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\nok`,
    strict: /Transfer-Encoding/,
    lenient: /Transfer-Encoding/,
  },
  {
    what: 'a chunk size with many leading zeros',
    bytes: `${chunked}0000000000000000000000000000000000000000000000005\r\na\nb\nc\r\n0\r\n\r\n`,
    stays: true,
    strict: null,
    lenient: null,
    body: 'a\nb\nc',
  },
  {
    what: 'a chunk size with many leading zeros and a bare LF',
    bytes: `${chunked}0000000000000000000000000000000000000000000000005;a=b\na\nb\nc\n${'0'.repeat(50)}\n\n`,
    stays: true,
    strict: /Missing expected CR/,
    afterHead: true,
    lenient: null,
    body: 'a\nb\nc',
  },
  {
    what: 'spaces behind a chunk size',
    bytes: `${chunked}2  \r\nok\r\n0 \t\r\n\r\n`,
    stays: true,
    strict: /Invalid character in chunk size/,
    afterHead: true,
    lenient: null,
  },
  {
    what: 'a folded header',
    bytes: `${withoutFraming}X-Folded: a\r\n b\r\nContent-Length: 2\r\n\r\nok`,
    strict: /Unexpected whitespace.*header X-Folded/,
    lenient: /Unexpected whitespace.*header X-Folded/,
  },
  {
    what: 'a space in the name of a header',
    bytes: `${withoutFraming}Content-Length: 2\r\nX Bad: 1\r\n\r\nok`,
    strict: /Invalid header token\), in the header X Bad$/,
    lenient: /Invalid header token\), in the header X Bad$/,
  },
  {
    what: 'a line without a colon',
    bytes: `${withoutFraming}Content-Length: 2\r\nnonsense\r\n\r\nok`,
    strict: /Invalid header token\), behind the header Content-Length$/,
    lenient: /Invalid header token\), behind the header Content-Length$/,
  },
  {
    what: 'a control character in a value',
    bytes: `${withoutFraming}Content-Length: 2\r\nX-Control: a\x01\r\n\r\nok`,
    strict: /Invalid header value char\), in the header X-Control$/,
    lenient: /Invalid header value char\), in the header X-Control$/,
  },
  {
    what: 'a bare CR in a value',
    bytes: `${withoutFraming}Content-Length: 2\r\nX-Return: a\rX-Smuggled: b\r\n\r\nok`,
    strict: /in the header X-Return$/,
    lenient: /in the header X-Return$/,
  },
  {
    what: 'a status below 100',
    bytes: 'HTTP/1.1 099 Low\r\nContent-Length: 2\r\n\r\nok',
    strict: /status 99/,
    lenient: /status 99/,
  },
  {
    what: 'a status line without a reason',
    bytes: 'HTTP/1.1 200\r\nX-A: 1\r\nContent-Length: 2\r\n\r\nok',
    stays: true,
    strict: null,
    lenient: null,
  },
  {
    what: 'HTTP/1.0 until the end of the connection',
    bytes: 'HTTP/1.0 200 OK\r\nX-A: 1\r\n\r\nok',
    strict: null,
    lenient: null,
  },
  { what: 'HTTP/1.1 without a length', bytes: `${withoutFraming}\r\nok`, strict: null, lenient: null },
  {
    what: 'an empty line first',
    bytes: `\r\n${withoutFraming}Content-Length: 2\r\n\r\nok`,
    strict: null,
    lenient: null,
  },
  {
    what: 'junk behind the body',
    bytes: `${withoutFraming}Content-Length: 2\r\n\r\nokjunk`,
    strict: null,
    lenient: null,
  },
  {
    what: 'status 600',
    bytes: 'HTTP/1.1 600 Odd\r\nX-A: 1\r\nContent-Length: 2\r\n\r\nok',
    stays: true,
    strict: null,
    lenient: null,
    status: 600,
  },
  {
    what: 'status 999',
    bytes: 'HTTP/1.1 999 Odd\r\nX-A: 1\r\nContent-Length: 2\r\n\r\nok',
    stays: true,
    strict: null,
    lenient: null,
    status: 999,
  },
]

void t.test('strict and lenient routes accept and refuse what the table says', async (t) => {
  const asked: string[] = []
  const upstream = await startSockets(t, (socket) => {
    socket.on('data', (request) => {
      const [, path = '', number = '', pieces = ''] =
        /^(?:GET|HEAD) (\/\w+\/(\d+)\/(\w+)) /.exec(request.toString()) ?? []
      asked.push(path)
      const row = ROWS[Number(number)]
      if (row === undefined) return
      const bytes = Buffer.from(row.bytes, 'latin1')
      const end = (): void => {
        if (row.stays !== true) socket.end()
      }
      if (pieces === 'whole') {
        socket.write(bytes)
        end()
        return
      }
      socket.setNoDelay()
      let at = 0
      const timer = setInterval(() => {
        socket.write(bytes.subarray(at, (at += 1)))
        if (at < bytes.length) return
        clearInterval(timer)
        end()
      }, 1)
      socket.once('close', () => {
        clearInterval(timer)
      })
    })
  })
  const { url, events } = await startGateway(t, {
    idp,
    config: {
      upstream,
      routes: [
        { path: '/strict/**', access: 'public' },
        { path: '/lenient/**', access: 'public', upstreamParser: 'lenient' },
      ],
    },
  })
  const check = async (mode: 'strict' | 'lenient', index: number, row: Row, pieces: string): Promise<void> => {
    const path = `/${mode}/${index}/${pieces}`
    const what = `${mode}, ${pieces}: ${row.what}`
    const cause = row[mode]
    if (mode === 'strict' && row.afterHead === true) {
      const text = (await sendRaw(url, `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`)).toString()
      t.match(text, /^HTTP\/1\.1 200 /, what)
      t.notMatch(text, /\r\n0\r\n\r\n$/, `${what}: without an end`)
      const found = events('upstream_aborted').at(-1)?.['cause']
      t.match(found, row.strict ?? '', what)
      if (row.lenient === null) t.match(found, /^upstreamParser: lenient accepts /, what)
      return
    }
    const answer = await ask(url, 'GET', path)
    t.equal(asked.filter((one) => one === path).length, 1, `${what}: the request is sent once`)
    if (cause === null) {
      t.equal(answer.status, row.status ?? 200, what)
      t.equal(answer.body.toString(), row.body ?? 'ok', what)
      if (row.bytes.includes('X-A')) t.strictSame(answer.headers.get('x-a'), ['1'], what)
      t.ok((answer.headers.get('content-length') ?? []).length <= 1, `${what}: one length`)
      return
    }
    t.equal(answer.status, 502, what)
    const id = /"request_id":"([^"]+)"/.exec(answer.body.toString())?.[1]
    const line = events('upstream_unreachable').find((one) => one['id'] === id)
    t.match(line?.['cause'], cause, what)
    if (row.lenient === null) t.match(line?.['cause'], /^upstreamParser: lenient accepts /, what)
    else if (!/Duplicate Content-Length/.test(String(line?.['cause'])))
      t.notMatch(line?.['cause'], /upstreamParser/, what)
    t.notMatch(line?.['cause'], /MISMATCH|ASSERTION/, what)
  }
  for (const [index, row] of ROWS.entries()) {
    await check('strict', index, row, 'whole')
    await check('lenient', index, row, 'whole')
  }
  const repeated = ROWS.findIndex(({ what }) => what === 'the same Content-Length twice')
  const head = await ask(url, 'HEAD', `/lenient/${repeated}/whole`)
  t.same([head.status, head.headers.get('content-length')], [200, ['2']], 'HEAD')
  await Promise.all(
    ROWS.map(async (row, index) => {
      if (row.lenient === null) await check('lenient', index, row, 'bytewise')
    }),
  )
})

void t.test('the data of a chunked body with bare LF is intact when the client reads slowly', async (t) => {
  const data = randomBytes(3_000_000)
  const upstream = await startSockets(t, (socket) => {
    socket.once('data', () => {
      socket.write('HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n')
      for (let at = 0; at < data.length;) {
        const chunk = data.subarray(at, at + 1 + ((at * 7) % 5000))
        socket.write(`${chunk.length.toString(16)}${at % 3 === 0 ? ' ' : ''}\n`)
        socket.write(chunk)
        socket.write(at % 2 === 0 ? '\n' : '\r\n')
        at += chunk.length
      }
      socket.write('0\n\n')
    })
  })
  const { url } = await startGateway(t, {
    idp,
    config: { upstream, routes: [{ path: '/**', access: 'public', upstreamParser: 'lenient' }] },
  })
  const socket = open(url)
  socket.write('GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
  const chunks: Buffer[] = []
  for await (const chunk of socket) {
    chunks.push(Buffer.from(chunk))
    if (chunks.length % 8 === 0) await sleep(5)
  }
  const [answer] = parseAnswers(Buffer.concat(chunks))
  t.ok(answer?.body.equals(data), 'the same bytes')
})
