import { setTimeout as sleep } from 'node:timers/promises'
import {
  Client,
  credentials,
  makeGenericClientConstructor,
  Metadata,
  Server,
  ServerCredentials,
  status,
  type ServerDuplexStream,
  type ServerReadableStream,
  type ServerUnaryCall,
  type ServerWritableStream,
  type sendUnaryData,
  type ServiceDefinition,
  type ServiceError,
  type StatusObject,
} from '@grpc/grpc-js'
import t, { type Test } from 'tap'
import { startIdp } from '../../../src/demo/idp.ts'
import { eventually } from '../../support/eventually.ts'
import { startGateway, type Running } from '../../support/gateway.ts'

// One provider for all gateways here: what it does is not what these tests are about.
const idp = await startIdp()
t.teardown(() => idp.close())

function method(path: string, requestStream: boolean, responseStream: boolean): ServiceDefinition[string] {
  const same = (bytes: Buffer): Buffer => bytes
  return {
    path: `/test.Echo/${path}`,
    requestStream,
    responseStream,
    requestSerialize: same,
    requestDeserialize: same,
    responseSerialize: same,
    responseDeserialize: same,
  }
}

const service = {
  unary: method('Unary', false, false),
  down: method('Down', false, true),
  up: method('Up', true, false),
  both: method('Both', true, true),
}

type AnyCall = Pick<ServerUnaryCall<Buffer, Buffer>, 'getDeadline' | 'metadata'> & NodeJS.EventEmitter

type Observed = { cancelled: string[]; deadlines: (number | undefined)[]; metadata: Metadata[] }

/** Starts a real gRPC server. A message is a command: `fail`, `wait`, `only`, a number of bytes, or an echo. */
async function startGrpcServer(t: Test, creds = ServerCredentials.createInsecure()): Promise<{ port: number; observed: Observed; server: Server }> {
  const observed: Observed = { cancelled: [], deadlines: [], metadata: [] }
  const server = new Server({ 'grpc.max_receive_message_length': -1 })
  const note = (name: string, call: AnyCall): void => {
    const deadline = call.getDeadline()
    observed.deadlines.push(typeof deadline === 'number' && Number.isFinite(deadline) ? deadline : undefined)
    observed.metadata.push(call.metadata)
    call.on('cancelled', () => {
      observed.cancelled.push(name)
    })
  }
  const trailer = (): Metadata => {
    const metadata = new Metadata()
    metadata.set('plain', 'value')
    metadata.set('some-bin', Buffer.from([0, 1, 255]))
    return metadata
  }
  server.addService(service, {
    unary(call: ServerUnaryCall<Buffer, Buffer>, callback: sendUnaryData<Buffer>) {
      note('unary', call)
      const text = call.request.toString()
      if (text === 'fail') callback({ code: status.FAILED_PRECONDITION, details: 'nöt yet', metadata: trailer() })
      else if (text === 'wait') return
      else callback(null, call.request, trailer())
    },
    down(call: ServerWritableStream<Buffer, Buffer>) {
      note('down', call)
      const count = Number(call.request.toString())
      for (let i = 0; i < count; i += 1) call.write(Buffer.from(`message ${i}`))
      if (count > 0) call.end(trailer())
      else call.write(Buffer.from('open'))
    },
    up(call: ServerReadableStream<Buffer, Buffer>, callback: sendUnaryData<Buffer>) {
      note('up', call)
      let size = 0
      call.on('data', (message: Buffer) => {
        size += message.length
      })
      call.on('end', () => {
        callback(null, Buffer.from(String(size)))
      })
    },
    both(call: ServerDuplexStream<Buffer, Buffer>) {
      note('both', call)
      call.on('data', (message: Buffer) => {
        call.write(Buffer.concat([Buffer.from('echo '), message]))
      })
      call.on('end', () => {
        call.end(trailer())
      })
      call.on('error', () => {})
    },
  })
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', creds, (error, bound) => {
      if (error === null) resolve(bound)
      else reject(error)
    })
  })
  t.teardown(() => {
    server.forceShutdown()
  })
  return { port, observed, server }
}

function clientFor(t: Test, url: string, creds = credentials.createInsecure()): InstanceType<ReturnType<typeof makeGenericClientConstructor>> {
  const Echo = makeGenericClientConstructor(service, 'Echo')
  const client = new Echo(new URL(url).host, creds, { 'grpc.max_receive_message_length': -1 })
  t.teardown(() => {
    client.close()
  })
  return client
}

async function startBoth(t: Test, route: object = {}): Promise<Running & { observed: Observed; server: Server; client: Client }> {
  const { port, observed, server } = await startGrpcServer(t)
  const running = await startGateway(t, {
    idp,
    config: { listenH2c: true, upstream: `http://127.0.0.1:${port}`, routes: [{ path: '/**', access: 'public', upstreamProtocol: 'h2c', ...route }] },
  })
  return { ...running, observed, server, client: clientFor(t, running.url) }
}

function unary(client: Client, text: string, options: { deadline?: number; metadata?: Metadata } = {}): Promise<{ error: ServiceError | null; value: Buffer | undefined; status: StatusObject }> {
  return new Promise((resolve) => {
    let answered: { error: ServiceError | null; value: Buffer | undefined } = { error: null, value: undefined }
    const call = client.makeUnaryRequest('/test.Echo/Unary', (b: Buffer) => b, (b: Buffer) => b, Buffer.from(text), options.metadata ?? new Metadata(), options.deadline === undefined ? {} : { deadline: Date.now() + options.deadline }, (error, value) => {
      answered = { error, value }
    })
    call.on('status', (status) => {
      setImmediate(() => {
        resolve({ ...answered, status })
      })
    })
  })
}

void t.test('a unary call passes with its message, its metadata and its trailers', async (t) => {
  const { client, observed } = await startBoth(t)
  const metadata = new Metadata()
  metadata.set('x-plain', 'a value')
  metadata.set('x-data-bin', Buffer.from([0, 200, 255]))
  const { error, value, status: ended } = await unary(client, 'hello', { metadata })
  t.equal(error, null)
  t.equal(value?.toString(), 'hello')
  t.same(observed.metadata[0]?.get('x-plain'), ['a value'])
  t.same(observed.metadata[0]?.get('x-data-bin'), [Buffer.from([0, 200, 255])])
  t.same(ended.metadata.get('plain'), ['value'])
  t.same(ended.metadata.get('some-bin'), [Buffer.from([0, 1, 255])])
})
void t.test('an error', async (t) => {
  const { client, observed } = await startBoth(t)
  const { error, status: ended } = await unary(client, 'fail')
  t.match(error, { code: status.FAILED_PRECONDITION, details: 'nöt yet' })
  t.same(ended.metadata.get('plain'), ['value'])
  const start = Date.now()
  const late = await unary(client, 'wait', { deadline: 200 })
  t.equal(late.error?.code, status.DEADLINE_EXCEEDED)
  await eventually(() => observed.cancelled.includes('unary'))
  t.ok(observed.deadlines[1] !== undefined && observed.deadlines[1] - start < 2000)
  await sleep(0)
})
