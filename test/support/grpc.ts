import {
  credentials,
  makeGenericClientConstructor,
  Metadata,
  Server,
  ServerCredentials,
  status,
  type ClientDuplexStream,
  type ClientReadableStream,
  type ClientWritableStream,
  type sendUnaryData,
  type ServerDuplexStream,
  type ServerReadableStream,
  type ServerUnaryCall,
  type ServerWritableStream,
  type ServiceDefinition,
  type ServiceError,
  type StatusObject,
} from '@grpc/grpc-js'
import type { Test } from 'tap'

const same = (bytes: Buffer): Buffer => bytes

const method = (name: string, requestStream: boolean, responseStream: boolean): ServiceDefinition[string] => ({
  path: `/test.Echo/${name}`,
  requestStream,
  responseStream,
  requestSerialize: same,
  requestDeserialize: same,
  responseSerialize: same,
  responseDeserialize: same,
})

const service = {
  unary: method('Unary', false, false),
  download: method('Download', false, true),
  upload: method('Upload', true, false),
  chat: method('Chat', true, true),
}

type AnyCall = {
  readonly metadata: Metadata
  getPath(): string
  on(event: 'cancelled', listener: () => void): unknown
}

export type GrpcServer = {
  readonly port: number
  readonly server: Server
  /** The methods that were called, and those whose calls the client or the gateway has cancelled. */
  readonly called: string[]
  readonly cancelled: string[]
  readonly metadata: Metadata[]
}

/** The trailers of each successful call. */
export const trailers = (): Metadata => {
  const metadata = new Metadata()
  metadata.set('plain', 'value')
  metadata.set('some-bin', Buffer.from([0, 1, 255]))
  return metadata
}

/**
 * Starts a real gRPC server, which stops when the test ends. `Unary` echoes the message, fails for `fail`, and never
 * answers `wait`. `Download` sends as many messages as it is told, and stays open for `open`. `Upload` counts bytes.
 * `Chat` echoes each message.
 */
export const startGrpcServer = async (
  t: Test,
  { port = 0, creds = ServerCredentials.createInsecure() }: { port?: number; creds?: ServerCredentials } = {},
): Promise<GrpcServer> => {
  const called: string[] = []
  const cancelled: string[] = []
  const metadata: Metadata[] = []
  const note = (call: AnyCall): void => {
    called.push(call.getPath())
    metadata.push(call.metadata)
    call.on('cancelled', () => {
      cancelled.push(call.getPath())
    })
  }
  const server = new Server({ 'grpc.max_receive_message_length': -1 })
  server.addService(service, {
    unary(call: ServerUnaryCall<Buffer, Buffer>, callback: sendUnaryData<Buffer>) {
      note(call)
      const text = call.request.toString('latin1', 0, 4)
      if (text === 'fail')
        callback({ code: status.FAILED_PRECONDITION, details: 'not yet: né', metadata: trailers() }, null)
      else if (text !== 'wait') callback(null, call.request, trailers())
    },
    download(call: ServerWritableStream<Buffer, Buffer>) {
      note(call)
      const wanted = call.request.toString()
      if (wanted === 'open') {
        call.write(Buffer.from('open'))
        return
      }
      for (let i = 0; i < Number(wanted); i += 1) call.write(Buffer.from(`message ${i}`))
      call.end(trailers())
    },
    upload(call: ServerReadableStream<Buffer, Buffer>, callback: sendUnaryData<Buffer>) {
      note(call)
      let size = 0
      call
        .on('data', (message: Buffer) => {
          size += message.length
        })
        .on('end', () => {
          callback(null, Buffer.from(String(size)))
        })
        .on('error', () => {})
    },
    chat(call: ServerDuplexStream<Buffer, Buffer>) {
      note(call)
      call
        .on('data', (message: Buffer) => {
          call.write(Buffer.concat([Buffer.from('echo '), message]))
        })
        .on('end', () => {
          call.end(trailers())
        })
        .on('error', () => {})
    },
  })
  t.teardown(() => {
    server.forceShutdown()
  })
  return new Promise((resolve, reject) => {
    server.bindAsync(`127.0.0.1:${port}`, creds, (error, bound) => {
      if (error === null) resolve({ port: bound, server, called, cancelled, metadata })
      else reject(error)
    })
  })
}

type Ended = { readonly status: StatusObject; readonly messages: string[] }
type Options = { readonly metadata?: Metadata; readonly deadline?: Date }

export type GrpcClient = {
  unary(message: Buffer | string, options?: Options): Promise<{ value: Buffer | undefined; status: StatusObject }>
  upload(options?: Options): { call: ClientWritableStream<Buffer>; value: Promise<Buffer | ServiceError> }
  download(message: string, options?: Options): ClientReadableStream<Buffer>
  chat(options?: Options): ClientDuplexStream<Buffer, Buffer>
}

/** Creates a real gRPC client for the address of a URL. It closes when the test ends. */
export const grpcClient = (t: Test, url: string, ca?: string): GrpcClient => {
  const Echo = makeGenericClientConstructor(service, 'Echo')
  const creds = ca === undefined ? credentials.createInsecure() : credentials.createSsl(Buffer.from(ca))
  const client = new Echo(new URL(url).host, creds, { 'grpc.max_receive_message_length': -1 })
  t.teardown(() => {
    client.close()
  })
  return {
    unary: (message, { metadata = new Metadata(), ...options } = {}) =>
      new Promise((resolve) => {
        let value: Buffer | undefined
        const request = Buffer.from(message)
        client
          .makeUnaryRequest<Buffer, Buffer>(
            service.unary.path,
            same,
            same,
            request,
            metadata,
            options,
            (_error, answered) => {
              value = answered
            },
          )
          .on('status', (ended) => {
            setImmediate(() => {
              resolve({ value, status: ended })
            })
          })
      }),
    upload({ metadata = new Metadata(), ...options } = {}) {
      let settle: (value: Buffer | ServiceError) => void = () => {}
      const value = new Promise<Buffer | ServiceError>((resolve) => {
        settle = resolve
      })
      const call = client.makeClientStreamRequest<Buffer, Buffer>(
        service.upload.path,
        same,
        same,
        metadata,
        options,
        (error, answered) => {
          settle(answered ?? error ?? Buffer.alloc(0))
        },
      )
      return { call, value }
    },
    download: (message, { metadata = new Metadata(), ...options } = {}) =>
      client.makeServerStreamRequest<Buffer, Buffer>(
        service.download.path,
        same,
        same,
        Buffer.from(message),
        metadata,
        options,
      ),
    chat: ({ metadata = new Metadata(), ...options } = {}) =>
      client.makeBidiStreamRequest<Buffer, Buffer>(service.chat.path, same, same, metadata, options),
  }
}

/** Collects the messages of a call, and resolves when the call has ended. */
export const ended = async (
  call: ClientReadableStream<Buffer> | ClientDuplexStream<Buffer, Buffer>,
): Promise<Ended> => {
  const messages: string[] = []
  return new Promise((resolve) => {
    let last: StatusObject | null = null
    // `error` comes after `status` of a failed call.
    call.on('error', () => {})
    call.on('data', (message: Buffer) => {
      messages.push(message.toString())
    })
    call.on('status', (status: StatusObject) => {
      last = status
      setImmediate(() => {
        if (last !== null) resolve({ status: last, messages })
      })
    })
  })
}
