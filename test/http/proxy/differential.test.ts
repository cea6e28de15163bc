import { connect, constants, type ClientHttp2Session, type OutgoingHttpHeaders } from 'node:http2'
import { setTimeout as sleep } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'
import t, { type Test } from 'tap'
import { startIdp } from '../../../src/demo/idp.ts'
import { createBrowser } from '../../support/browser.ts'
import { freePort } from '../../support/free-port.ts'
import { startGateway } from '../../support/gateway.ts'
import { startNginx } from '../../support/nginx.ts'
import { openAndRead } from '../../support/raw-http.ts'
import { startSockets } from '../../support/sockets.ts'
import {
  converse,
  nameOf,
  PIECE_DELAY_MS,
  readMessage,
  readResponse,
  valueOf,
  type Conversation,
  type Message,
} from '../../support/wire.ts'
import { RESPONSES, REQUESTS, type ResponseCase, type RequestDifference } from './differential-cases.ts'

// The same client sends the same bytes to an application, to the gateway on a public route and with a session, and to
// nginx. The application answers with the bytes of a case. Through the gateway, each side must read what it reads without
// the gateway, except for the differences that the case lists. If nginx passes what the gateway changes, the case says so.

const AT_A_TIME = 12
/** How many pairs have been compared. */
let compared = 0
/** The application and nginx may wait forever where the gateway must refuse. */
const PATIENCE_MS = 500
const PROBED = { pieces: ['HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nprobe'] }

const received = new Map<string, Message>()
const application = await startApplication()
const idp = await startIdp()
t.teardown(() => idp.close())
const direct = subject('direct', application)
const [publicRoute, session] = await startGateways()
const gateways = [publicRoute, session]
const nginx = subject('nginx', await startPlainNginx())

interface Subject {
  readonly name: string
  readonly url: string
  /** The fields of every request to the subject. */
  readonly fields: readonly string[]
}

function subject(name: string, url: string, fields: readonly string[] = []): Subject {
  return { name, url, fields }
}

/** Starts an application that answers with the bytes of the case whose number ends `X-Case`, or with `probe`. */
async function startApplication(): Promise<string> {
  return startSockets(t, (socket) => {
    socket.setNoDelay(true)
    let text = ''
    let answeredEarly = false

    async function respond(id: string): Promise<void> {
      const { pieces } = RESPONSES[Number(/\d+$/.exec(id)?.[0])] ?? PROBED
      for (const [i, piece] of pieces.entries()) {
        if (i > 0) await sleep(PIECE_DELAY_MS)
        socket.write(piece, 'latin1')
      }
      if (!/^(?:content-length|transfer-encoding):/im.test(finalHead(pieces.join('')))) socket.end()
    }

    socket.on('data', (chunk) => {
      if (answeredEarly) return
      text += chunk.toString('latin1')
      for (let read = readMessage(text, 0, null, false); read !== null; read = readMessage(text, 0, null, false)) {
        const id = valueOf(read.message.fields, 'x-case') ?? ''
        received.set(id, read.message)
        text = text.slice(read.next)
        void respond(id)
      }
      const [, early] = /^X-Case: (early-\d+)\r/im.exec(text) ?? []
      if (early === undefined || !text.includes('\r\n\r\n')) return
      answeredEarly = true
      void respond(early)
    })
  })
}

function finalHead(answer: string): string {
  const end = answer.indexOf('\r\n\r\n')
  return /^HTTP\/1\.1 1\d\d /.test(answer) && end !== -1 ? finalHead(answer.slice(end + 4)) : answer.slice(0, end)
}

/** Starts a gateway with a public route, and one with a session. */
async function startGateways(more: object = {}): Promise<[Subject, Subject]> {
  const config = { upstream: application, limits: { headers: '64kb' }, ...more }
  const open = await startGateway(t, { idp, config: { ...config, routes: [{ path: '/**', access: 'public' }] } })
  const closed = await startGateway(t, { idp, config })
  const browser = createBrowser()
  await browser.login(`${closed.url}/`, 'alice')
  const cookies = browser.cookies.header(new URL(closed.url)).split('; ')
  const own = cookies.filter((pair) => pair.includes('gatehouse')).join('; ')
  return [subject('public route', open.url), subject('session', closed.url, [`Cookie: ${own}`])]
}

/** Starts nginx without the settings by which it changes messages. */
async function startPlainNginx(): Promise<string> {
  const port = await freePort()
  const conf = `server {
    listen 127.0.0.1:${port};
    underscores_in_headers on;
    ignore_invalid_headers off;
    merge_slashes off;
    client_max_body_size 0;
    large_client_header_buffers 8 64k;
    location / {
      proxy_pass ${application};
      proxy_http_version 1.1;
      proxy_set_header Host $http_host;
      proxy_set_header Connection "";
      proxy_pass_header Server;
      proxy_pass_header Date;
      proxy_request_buffering off;
      proxy_buffering off;
      proxy_buffer_size 128k;
      proxy_buffers 8 128k;
    }
  }`
  await startNginx(t, port, conf)
  return `http://127.0.0.1:${port}`
}

async function inBatches<T>(items: readonly T[], act: (item: T, index: number) => Promise<void>): Promise<void> {
  for (let at = 0; at < items.length; at += AT_A_TIME)
    await Promise.all(items.slice(at, at + AT_A_TIME).map(async (item, i) => act(item, at + i)))
}

/** Returns the lines of a request's head. */
function linesFor({ url, fields }: Subject, id: string, line: string, more: readonly string[] = []): string[] {
  return [line, `Host: ${new URL(url).host}`, `X-Case: ${id}`, 'Sec-Fetch-Site: same-origin', ...fields, ...more]
}

function headFor(...request: Parameters<typeof linesFor>): string {
  return `${linesFor(...request).join('\r\n')}\r\n\r\n`
}

/** Sends a request. Only the gateway's connections must carry one more request. */
async function converseWith(
  to: Subject,
  method: string,
  pieces: readonly string[],
  timeoutMs?: number,
): Promise<Conversation> {
  const probe = gateways.includes(to) ? headFor(to, 'probe', 'GET /probe HTTP/1.1') : null
  return converse(to.url, method, pieces, probe, timeoutMs).catch(() => NOTHING)
}

const NOTHING: Conversation = { interim: [], answer: null, reusable: false }

/** Fields about a connection: https://www.rfc-editor.org/rfc/rfc9110#section-7.6.1 */
const HOP_BY_HOP = ['connection', 'keep-alive', 'proxy-connection', 'transfer-encoding']
/** Fields that differ between the subjects. */
const OF_THE_SUBJECT = [
  'host',
  'x-case',
  'via',
  'x-forwarded-for',
  'x-forwarded-proto',
  'x-forwarded-host',
  'x-request-id',
]

function without(fields: readonly string[], names: readonly string[]): string[] {
  return fields.filter((field) => !names.includes(nameOf(field)))
}

/** Returns the names of the fields that the gateway adds to a response. */
function addedTo({ fields }: Pick<Message, 'fields'>): string[] {
  return valueOf(fields, 'date') === null ? ['date', 'x-request-id'] : ['x-request-id']
}

function withLast(fields: readonly string[], names: readonly string[]): string[] {
  return [...without(fields, names), ...fields.filter((field) => names.includes(nameOf(field)))]
}

/** Returns the fields as nginx may pass them, because nginx changes the order and the spelling of some. */
function inAnyOrder(fields: readonly string[]): string[] {
  return fields.map((field) => nameOf(field) + field.slice(field.indexOf(':'))).toSorted()
}

function statusOf(answer: Message | null): number {
  return Number(answer?.first.slice(9, 12))
}

/** Compares without an assertion for each of the thousands of equal pairs, because assertions take most of the time. */
function compare(t: Test, got: unknown, expected: unknown, what: string): void {
  if (!isDeepStrictEqual(got, expected)) t.same(got, expected, what)
  compared += 1
}

interface Content {
  readonly status: string
  readonly fields: readonly string[]
  readonly body: string
  readonly trailers: readonly string[]
}

function contentOf(answer: Message | null, addedByProxy: readonly string[] = []): Content {
  const { first = '', fields = [], body = '', trailers = [] } = answer ?? {}
  return {
    // Some applications leave out the blank in front of an empty reason phrase.
    status: first.slice('HTTP/1.1 '.length).padEnd(4),
    fields: without(fields, [...HOP_BY_HOP, ...addedByProxy]),
    body,
    trailers,
  }
}

function passedInterim(sent: readonly Message[], { interim = [] }: NonNullable<ResponseCase['gateway']>): Content[] {
  return sent.filter((message) => interim.includes(statusOf(message))).map((message) => contentOf(message))
}

/** Returns what the client must read through the gateway. */
function withJoined(fields: readonly string[], name: string): string[] {
  const same = fields.filter((field) => nameOf(field) === name)
  if (same.length < 2) return [...fields]
  const values = same.map((field) => field.slice(field.indexOf(':') + 1).trim())
  return [...without(fields, [name]), `${name}: ${values.join(', ')}`]
}

function expectedContent(
  content: Content,
  { lacks = [], last = [], once = [], joined = '', trailers, body }: NonNullable<ResponseCase['gateway']>,
): Content {
  return {
    ...content,
    fields: withJoined(withLast(without(content.fields, lacks), last), joined).filter(
      (field, i, all) => !once.includes(nameOf(field)) || all.findIndex((one) => nameOf(one) === nameOf(field)) === i,
    ),
    trailers: trailers ?? content.trailers,
    body: body ?? content.body,
  }
}

void t.test('a client reads what the application answers', async (t) => {
  let passedByNginx = 0
  await inBatches(RESPONSES, async (one, index) => {
    const { name, method = 'GET', version = '1.1', request, upload, early, gateway = {} } = one
    const ask = async (to: Subject, timeoutMs?: number): Promise<Conversation> => {
      const head = headFor(to, `${early ? 'early' : to.name}-${index}`, `${method} /a HTTP/${version}`, request)
      return converseWith(to, method, upload === undefined ? [head] : [head, upload], timeoutMs)
    }
    const patience = gateway.refused === undefined ? undefined : PATIENCE_MS
    const [bare, throughNginx, ...passed] = await Promise.all([
      ask(direct, patience),
      ask(nginx, patience),
      ...gateways.map(async (to) => ask(to)),
    ])
    const content = contentOf(bare.answer)
    const added = ['x-request-id', ...['date', 'server'].filter((field) => valueOf(content.fields, field) === null)]
    for (const [i, { interim, answer, reusable }] of passed.entries()) {
      const what = `${gateways[i]?.name}: ${name}`
      if (gateway.refused !== undefined) {
        const isWhole = gateway.refused !== 'in the body'
        compare(t, [statusOf(answer), reusable], isWhole ? [gateway.refused, true] : [Number.NaN, false], what)
        continue
      }
      compare(
        t,
        {
          ...contentOf(answer, added),
          interim: interim.map((message) => contentOf(message)),
          framing: answer?.framing,
          reusable,
        },
        {
          ...expectedContent(content, gateway),
          interim: passedInterim(bare.interim, gateway),
          framing: gateway.framing ?? bare.answer?.framing,
          reusable: gateway.closes !== true,
        },
        what,
      )
    }
    const got = contentOf(throughNginx.answer, added)
    const nginxPasses =
      throughNginx.answer !== null &&
      isDeepStrictEqual({ ...got, fields: inAnyOrder(got.fields) }, { ...content, fields: inAnyOrder(content.fields) })
    if (nginxPasses) passedByNginx += 1
    if (nginxPasses && (gateway.refused ?? gateway.lacks ?? gateway.trailers) !== undefined)
      t.equal(one.nginx, 'passes', `nginx passes the response: ${name}`)
  })
  t.ok(passedByNginx > 0.9 * RESPONSES.length, `nginx passes ${passedByNginx} of ${RESPONSES.length} responses`)
})

/** Returns what the application must receive through the gateway. */
function expectedRequest(sent: Message | null, { line, lacks = [], empty }: RequestDifference): Message | null {
  if (sent === null) return null
  const fields = without(sent.fields, empty === undefined ? lacks : [...lacks, 'content-length'])
  return {
    ...sent,
    first: line ?? sent.first,
    fields: empty === 'length' ? [...fields, 'content-length: 0'] : fields,
    framing: empty ?? sent.framing,
  }
}

void t.test('the application reads what a client sends', async (t) => {
  let passedByNginx = 0
  await inBatches(REQUESTS, async (one, index) => {
    const { name, line, fields, body = [] } = one
    const isOld = line.endsWith('HTTP/1.0')
    const send = async (to: Subject): Promise<Conversation & { readonly request: Message | null }> => {
      const id = `${to.name}-r${index}-`
      const [method = ''] = line.split(' ')
      const conversation = await converseWith(to, method, [headFor(to, id, line, fields), ...body])
      const request = received.get(id)
      if (request === undefined) return { ...conversation, request: null }
      const own = to === session ? [...OF_THE_SUBJECT, 'authorization'] : OF_THE_SUBJECT
      // Content-Length belongs to the framing, so its place and spelling are those of each hop.
      const kept = withLast(without(request.fields, [...HOP_BY_HOP, ...own]), ['content-length'])
      const normal = kept.map((field) => field.replace(/^content-length/i, 'content-length'))
      return { ...conversation, request: { ...request, fields: normal } }
    }
    const [bare, throughNginx, ...passed] = await Promise.all([send(direct), send(nginx), ...gateways.map(send)])
    for (const [i, { request, answer, reusable }] of passed.entries()) {
      const to = gateways[i]
      const difference = to === session ? { ...one.gateway, ...one.session } : (one.gateway ?? {})
      compare(
        t,
        { status: statusOf(answer), request, reusable },
        {
          status: difference.refused ?? 200,
          request: difference.refused === undefined ? expectedRequest(bare.request, difference) : null,
          reusable: !isOld,
        },
        `${to?.name}: ${name}`,
      )
    }
    const sent = (message: Message | null): object | null =>
      message === null ? null : { ...message, fields: inAnyOrder(message.fields) }
    const nginxPasses = isDeepStrictEqual(sent(throughNginx.request), sent(bare.request))
    if (nginxPasses) passedByNginx += 1
    if (nginxPasses && (one.gateway?.refused ?? one.gateway?.lacks) !== undefined)
      t.equal(one.nginx, 'passes', `nginx passes the request: ${name}`)
  })
  t.ok(passedByNginx > 0.9 * REQUESTS.length, `nginx passes ${passedByNginx} of ${REQUESTS.length} requests`)
})

void t.test('a lenient gateway passes more responses, and all that a strict one passes', async (t) => {
  const config = { routes: [{ path: '/**', access: 'public', upstreamParser: 'lenient' }], upstream: application }
  const to = subject('lenient', (await startGateway(t, { idp, config })).url)
  await inBatches(RESPONSES, async (one, index) => {
    const { name, method = 'GET', version = '1.1', request, early, lenient, gateway = {} } = one
    if (early || name.startsWith('the status ')) return
    const head = headFor(to, `lenient-${index}`, `${method} /a HTTP/${version}`, request)
    const { answer } = await converse(to.url, method, [head], null)
    const what = `lenient: ${name}`
    const difference = lenient ?? gateway
    if (difference.refused === undefined) {
      const bare = answerOf(one).answer
      const added = addedTo(bare)
      compare(t, contentOf(answer, added), expectedContent(contentOf(bare), difference), what)
    } else compare(t, statusOf(answer), difference.refused, what)
  })
})

const PIPELINED = 40

void t.test('pipelined requests are answered in their order, each with its own response', async (t) => {
  const cases = RESPONSES.map((one, index) => ({ one, index })).filter(
    ({ one: { version, early, gateway = {} } }) =>
      version === undefined && !early && gateway.refused === undefined && gateway.interim === undefined,
  )
  for (const to of gateways) {
    for (let at = 0; at < cases.length; at += PIPELINED) {
      const some = cases.slice(at, at + PIPELINED)
      const { socket, text } = openAndRead(to.url)
      const closed = new Promise((resolve) => socket.once('close', resolve))
      socket.write(
        some
          .map(({ one: { method = 'GET', request = [] }, index }, i) => {
            const last = i === some.length - 1 ? ['Connection: close'] : []
            return headFor(to, `pipelined-${index}`, `${method} /a HTTP/1.1`, [...request, ...last])
          })
          .join(''),
        'latin1',
      )
      await closed
      let next = 0
      for (const { one } of some) {
        const got = readResponse(text(), next, one.method ?? 'GET')
        const bare = answerOf(one)
        const added = addedTo(bare.answer)
        compare(
          t,
          { ...contentOf(got.answer, added), interim: got.interim.map((message) => contentOf(message)) },
          {
            ...expectedContent(contentOf(bare.answer), one.gateway ?? {}),
            interim: passedInterim(bare.interim, one.gateway ?? {}),
          },
          `${to.name}, pipelined: ${one.name}`,
        )
        next = got.next
      }
      t.equal(next, text().length)
    }
  }
})

/** Reads the response of a case from its bytes. */
function answerOf({ pieces, method = 'GET' }: ResponseCase): ReturnType<typeof readResponse> {
  return readResponse(pieces.join(''), 0, method)
}

/** Returns the fields that HTTP/2 can have, in an object. */
function asObject(fields: readonly string[]): OutgoingHttpHeaders {
  const object = Object.create(null) as Record<string, string[]>
  for (const field of without(fields, FOR_HTTP_1))
    (object[nameOf(field)] ??= []).push(field.slice(nameOf(field).length + 2))
  return object
}

/** Fields that HTTP/2 has no place for: https://www.rfc-editor.org/rfc/rfc9113#section-8.2.2 */
const FOR_HTTP_1 = [...HOP_BY_HOP, 'te', 'upgrade']

function fieldsOf(raw: readonly string[]): string[] {
  return raw.flatMap((name, i) => (i % 2 === 0 && !name.startsWith(':') ? [`${name}: ${raw[i + 1]}`] : []))
}

/** Returns the fields in the form of HTTP/2, whose order is kept only within a name. */
function asHttp2(fields: readonly string[]): string[] {
  return fields
    .map((field) => nameOf(field) + field.slice(nameOf(field).length))
    .toSorted((a, b) => (nameOf(a) < nameOf(b) ? -1 : Number(nameOf(a) > nameOf(b))))
}

function inHttp2(content: Content): Content {
  return {
    ...content,
    status: content.status.slice(0, 3),
    fields: asHttp2(content.fields),
    trailers: asHttp2(content.trailers),
  }
}

/** Sends a request that is given in the form of HTTP/1.1, and reads the response. */
async function converseInHttp2(
  connection: ClientHttp2Session,
  { first, fields, body, trailers }: Omit<Message, 'framing'>,
  keepsUploading: boolean,
): Promise<{ readonly interim: readonly Content[]; readonly answer: Content; readonly isWhole: boolean }> {
  const [method = '', path = ''] = first.split(' ')
  const hasBody = body !== '' || trailers.length > 0 || keepsUploading
  const stream = connection.request(
    {
      ...asObject(without(fields, ['host'])),
      ':method': method,
      ':path': path,
      ':authority': valueOf(fields, 'host') ?? '',
    },
    { endStream: !hasBody, waitForTrailers: trailers.length > 0 },
  )
  stream.on('wantTrailers', () => {
    stream.sendTrailers(asObject(trailers))
  })
  if (hasBody) stream.write(body, 'latin1')
  if (hasBody && !keepsUploading) stream.end()
  const interim: Content[] = []
  let status = 'none'
  let [answered, trailed, received]: [string[], string[], string] = [[], [], '']
  stream.on('headers', (headers, _flags, raw: string[]) => {
    interim.push({ status: String(headers[':status']), fields: fieldsOf(raw), body: '', trailers: [] })
  })
  stream.on('response', (headers, _flags, raw: string[]) => {
    status = String(headers[':status'])
    answered = fieldsOf(raw)
  })
  stream.on('trailers', (_headers, _flags, raw: string[]) => {
    trailed = fieldsOf(raw)
  })
  stream.on('data', (chunk: Buffer) => {
    received += chunk.toString('latin1')
  })
  const timer = setTimeout(() => stream.close(), 5_000)
  await new Promise<void>((resolve) => {
    stream.on('error', () => undefined)
    stream.once('close', resolve)
  })
  clearTimeout(timer)
  return {
    interim,
    answer: { status, fields: answered, body: received, trailers: trailed },
    isWhole: stream.rstCode === constants.NGHTTP2_NO_ERROR,
  }
}

void t.test('a client with HTTP/2 reads what the application answers', async (t) => {
  const [open, closed] = await startGateways({ listenH2c: true })
  for (const to of [open, closed]) {
    const connection = connect(to.url, { maxHeaderListPairs: 10_000, settings: { maxHeaderListSize: 1_000_000 } })
    await inBatches(RESPONSES, async (one, index) => {
      const { name, method = 'GET', request = [], upload = '', early = false } = one
      const id = `${early ? 'early' : to.name}-${index}`
      const [first = '', ...fields] = linesFor(to, id, `${method} /a HTTP/1.1`, request)
      const { interim, answer, isWhole } = await converseInHttp2(
        connection,
        { first, fields, body: upload, trailers: [] },
        early,
      )
      const what = `${to.name} with HTTP/2: ${name}`
      const { refused, ...difference } = one.http2 ?? one.gateway ?? {}
      if (refused !== undefined) {
        compare(t, [Number(answer.status), isWhole], refused === 'in the body' ? [200, false] : [refused, true], what)
        return
      }
      const bare = answerOf(one)
      const content = expectedContent(contentOf(bare.answer), difference)
      const added = addedTo(bare.answer)
      compare(
        t,
        {
          ...inHttp2({ ...answer, fields: without(answer.fields, added) }),
          interim: interim.map(inHttp2),
          isWhole,
        },
        {
          ...inHttp2(content),
          interim: passedInterim(bare.interim, difference).map(inHttp2),
          isWhole: true,
        },
        what,
      )
    })
    t.notOk(connection.destroyed, `${to.name}: one connection carried all requests`)
    connection.destroy()
  }
})

void t.test('the application reads what a client with HTTP/2 sends', async (t) => {
  const [open] = await startGateways({ listenH2c: true })
  const connection = connect(open.url)
  await inBatches(REQUESTS, async (one, index) => {
    const { name, line, fields = [], body = [] } = one
    const difference = one.http2 ?? one.gateway ?? {}
    if (difference === 'cannot be sent') return
    const id = `http2-r${index}-`
    const sent = readMessage(headFor(open, id, line, fields) + body.join(''), 0, null, true)?.message
    if (sent === undefined) throw new Error(`no request: ${name}`)
    const { answer } = await converseInHttp2(connection, sent, false)
    const request = received.get(id)
    const what = `HTTP/2: ${name}`
    t.equal(Number(answer.status), difference.refused ?? 200, what)
    if (difference.refused !== undefined) {
      t.equal(request, undefined, `${what}: nothing reaches the application`)
      return
    }
    const normal = (message: Message | null): object | null =>
      message === null
        ? null
        : {
            ...message,
            fields: asHttp2(without(message.fields, [...FOR_HTTP_1, ...OF_THE_SUBJECT])),
            trailers: asHttp2(message.trailers),
          }
    const expected = expectedRequest(sent, difference)
    compare(t, normal(request ?? null), normal(expected), what)
  })
  t.notOk(connection.destroyed, 'one connection carried all requests')
  connection.destroy()
})

void t.test('all cases were compared', async (t) => {
  t.ok(compared > 6 * RESPONSES.length, `${compared} comparisons`)
})
