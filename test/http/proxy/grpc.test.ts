import { once } from 'node:events'
import { createServer } from 'node:http2'
import { join } from 'node:path'
import { Metadata, ServerCredentials, status } from '@grpc/grpc-js'
import t, { type Test } from 'tap'
import { boundPort } from '../../../src/demo/bound-port.ts'
import { startIdp } from '../../../src/demo/idp.ts'
import { createAuthority } from '../../support/certificates.ts'
import { eventually } from '../../support/eventually.ts'
import { freePort } from '../../support/free-port.ts'
import { startGateway, type Running } from '../../support/gateway.ts'
import { ended, grpcClient, startGrpcServer, trailers, type GrpcClient, type GrpcServer } from '../../support/grpc.ts'
import { loggedIn, type LoggedIn } from '../../support/logged-in.ts'

// One provider for all gateways here: what it does is not what these tests are about.
const idp = await startIdp()
t.teardown(() => idp.close())

type Started = Running & { readonly application: GrpcServer; readonly client: GrpcClient }

const configFor = ({ port }: GrpcServer, route: object): { [key: string]: unknown } => ({
  listenH2c: true,
  upstream: `http://127.0.0.1:${port}`,
  routes: [{ path: '/**', upstreamProtocol: 'h2c', ...route }],
})

/** A gateway without a login between a gRPC client and a gRPC server. */
const start = async (t: Test, route: object = {}): Promise<Started> => {
  const application = await startGrpcServer(t)
  const running = await startGateway(t, { idp, config: configFor(application, { access: 'public', ...route }) })
  return { ...running, application, client: grpcClient(t, running.url) }
}

/** A gateway with alice logged in. `metadata` has her session. */
const startWithLogin = async (t: Test, route: object = {}): Promise<Started & LoggedIn & { metadata: Metadata }> => {
  const application = await startGrpcServer(t)
  const running = await loggedIn(t, { idp, config: configFor(application, route) })
  const metadata = new Metadata()
  metadata.set('cookie', running.browser.cookies.header(new URL(running.url)))
  return { ...running, application, client: grpcClient(t, running.url), metadata }
}

/** For the tests that need no configuration of their own. */
const shared = await start(t)

void t.test('a unary call passes with its metadata, its message, its status and its trailers', async (t) => {
  const { client, application } = shared
  const metadata = new Metadata()
  metadata.set('x-plain', 'a value')
  metadata.set('x-data-bin', Buffer.from([0, 200, 255]))
  const { value, status: end } = await client.unary('hello', { metadata })
  t.equal(value?.toString(), 'hello')
  t.match(end, { code: status.OK })
  t.same(end.metadata.getMap(), trailers().getMap())
  t.same(application.metadata[0]?.get('x-plain'), ['a value'])
  t.same(application.metadata[0]?.get('x-data-bin'), [Buffer.from([0, 200, 255])])
})

void t.test('an error before any message keeps its status, its message and its trailers', async (t) => {
  const { client } = shared
  const { value, status: end } = await client.unary('fail')
  t.equal(value, undefined)
  t.match(end, { code: status.FAILED_PRECONDITION, details: 'not yet: né' })
  t.match(end.metadata.getMap(), trailers().getMap())
})

void t.test('messages stream in each direction, and in both at the same time', async (t) => {
  const { client } = shared
  const down = await ended(client.download('50'))
  t.same(
    down.messages,
    Array.from({ length: 50 }, (_, i) => `message ${i}`),
  )
  t.same(down.status.metadata.getMap(), trailers().getMap())

  const { call, value } = client.upload()
  for (let i = 0; i < 50; i += 1) call.write(Buffer.alloc(100))
  call.end()
  t.equal(String(await value), '5000')

  const chat = client.chat()
  const end = ended(chat)
  for (const word of ['one', 'two', 'three']) {
    chat.write(Buffer.from(word))
    const [message]: unknown[] = await once(chat, 'data')
    t.equal(String(message), `echo ${word}`, 'the answer arrives while the request is open')
  }
  chat.end()
  t.match(await end, { status: { code: status.OK }, messages: ['echo one', 'echo two', 'echo three'] })
})

void t.test('large messages pass in both directions', async (t) => {
  const { client } = shared
  const message = Buffer.alloc(3_000_000, 'x')
  const { value } = await client.unary(message)
  t.ok(value?.equals(message))
  const chat = client.chat()
  const end = ended(chat)
  for (let i = 0; i < 4; i += 1) chat.write(message)
  chat.end()
  const { messages } = await end
  t.same(
    messages.map(({ length }) => length),
    Array.from({ length: 4 }, () => 5 + message.length),
  )
})

void t.test('a deadline and a cancellation reach the server', async (t) => {
  const { client, application } = shared
  const late = await client.unary('wait', { deadline: new Date(Date.now() + 150) })
  t.equal(late.status.code, status.DEADLINE_EXCEEDED)
  await eventually(() => application.cancelled.includes('/test.Echo/Unary'))
  const stream = client.download('open')
  const end = ended(stream)
  await once(stream, 'data')
  stream.cancel()
  t.equal((await end).status.code, status.CANCELLED)
  await eventually(() => application.cancelled.includes('/test.Echo/Download'))
})

void t.test('`timeout` does not cut a call whose client still has messages to send', async (t) => {
  const { client } = await start(t, { timeout: '300ms' })
  const { call, value } = client.upload()
  for (let i = 0; i < 4; i += 1) {
    call.write(Buffer.alloc(10))
    await new Promise((resolve) => setTimeout(resolve, 200))
  }
  call.end()
  t.equal(String(await value), '40')
  const { status: end } = await client.unary('wait')
  t.match(end, { code: status.UNAVAILABLE, details: /504/ })
})

void t.test('over TLS on both sides, with the negotiated protocol', async (t) => {
  const authority = createAuthority()
  const pem = authority.issue(['localhost', '127.0.0.1'])
  const files = t.testdir({ 'ca.pem': authority.ca, 'cert.pem': pem.cert, 'key.pem': pem.key })
  const pair = { private_key: Buffer.from(pem.key), cert_chain: Buffer.from(pem.cert) }
  const { port } = await startGrpcServer(t, { creds: ServerCredentials.createSsl(null, [pair]) })
  const own = await freePort()
  const url = `https://localhost:${own}`
  await startGateway(t, {
    idp,
    port: own,
    publicUrl: url,
    config: {
      tls: { certFile: join(files, 'cert.pem'), keyFile: join(files, 'key.pem') },
      upstream: `https://127.0.0.1:${port}`,
      routes: [
        { path: '/**', access: 'public', upstreamProtocol: 'h2', upstreamTls: { caFile: join(files, 'ca.pem') } },
      ],
    },
  })
  const client = grpcClient(t, url, authority.ca)
  t.match(await client.unary('hello'), { value: Buffer.from('hello'), status: { code: status.OK } })
})

void t.test('the gateway’s refusals are statuses that gRPC clients derive from HTTP', async (t) => {
  const { client, metadata, application } = await startWithLogin(t, { require: { claims: { sub: ['nobody'] } } })
  t.match((await client.unary('hello')).status, { code: status.UNAUTHENTICATED, details: /401/ })
  t.match((await client.unary('hello', { metadata })).status, { code: status.PERMISSION_DENIED, details: /403/ })
  t.same(application.called, [])
  const unreachable = await startGateway(t, {
    idp,
    config: {
      listenH2c: true,
      upstream: `http://127.0.0.1:${await freePort()}`,
      routes: [{ path: '/**', access: 'public', upstreamProtocol: 'h2c' }],
    },
  })
  t.match((await grpcClient(t, unreachable.url).unary('hello')).status, { code: status.UNAVAILABLE, details: /502/ })
})

void t.test('the server gets the access token of the session', async (t) => {
  const { client, metadata, application } = await startWithLogin(t)
  t.equal((await client.unary('hello', { metadata })).status.code, status.OK)
  t.match(application.metadata[0]?.get('authorization'), [/^Bearer ./])
  t.notMatch(application.metadata[0]?.get('cookie'), [/gatehouse/])
})

void t.test('a logout ends calls with UNAUTHENTICATED, before and after their first message', async (t) => {
  const { client, metadata, application, browser, url } = await startWithLogin(t)
  const open = client.download('open', { metadata })
  const opened = ended(open)
  await once(open, 'data')
  const chat = client.chat({ metadata })
  const chatted = ended(chat)
  chat.write(Buffer.from('one'))
  await once(chat, 'data')
  const waiting = client.unary('wait', { metadata })
  await eventually(() => application.called.includes('/test.Echo/Unary'))
  await browser.post(`${url}/oauth2/logout/local`, undefined, { kind: 'script' })
  const end = { code: status.UNAUTHENTICATED, details: 'the session has ended' }
  t.match((await opened).status, end)
  t.match((await chatted).status, end)
  t.match((await waiting).status, end)
  await eventually(() => application.cancelled.length === 3)
})

void t.test('a call that the server refuses is sent again on another connection', async (t) => {
  let calls = 0
  const server = createServer()
  server.on('stream', (stream) => {
    calls += 1
    stream.on('error', () => {})
    if (calls === 1) {
      stream.close(7)
      return
    }
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true })
    stream.on('wantTrailers', () => {
      stream.sendTrailers({ 'grpc-status': '0' })
    })
    stream.pipe(stream)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.close()
  })
  const { url } = await startGateway(t, {
    idp,
    config: {
      listenH2c: true,
      upstream: `http://127.0.0.1:${boundPort(server)}`,
      routes: [{ path: '/**', access: 'public', upstreamProtocol: 'h2c' }],
    },
  })
  t.match(await grpcClient(t, url).unary('hello'), { value: Buffer.from('hello'), status: { code: status.OK } })
  t.equal(calls, 2)
})

void t.test('calls go on after the server has restarted', async (t) => {
  const { client, application } = await start(t)
  t.equal((await client.unary('one')).status.code, status.OK)
  const open = client.download('open')
  const opened = ended(open)
  await once(open, 'data')
  application.server.forceShutdown()
  t.equal((await opened).status.code, status.INTERNAL)
  await startGrpcServer(t, { port: application.port })
  await eventually(async () => (await client.unary('two')).status.code === status.OK)
})
