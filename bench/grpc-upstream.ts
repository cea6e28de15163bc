/**
 * The gRPC application, run as a separate process: the server of `@grpc/grpc-js`, which returns each message.
 * Environment: PORT, and SERVICE_METHOD, the path of the method.
 */
import { Server, ServerCredentials, type sendUnaryData, type ServerUnaryCall } from '@grpc/grpc-js'

const server = new Server()
const asIs = (bytes: Buffer): Buffer => bytes

server.addService(
  {
    call: {
      path: process.env['SERVICE_METHOD'] ?? '',
      requestStream: false,
      responseStream: false,
      requestSerialize: asIs,
      requestDeserialize: asIs,
      responseSerialize: asIs,
      responseDeserialize: asIs,
    },
  },
  {
    call: ({ request }: ServerUnaryCall<Buffer, Buffer>, answer: sendUnaryData<Buffer>): void => {
      answer(null, request)
    },
  },
)
server.bindAsync(`127.0.0.1:${process.env['PORT'] ?? ''}`, ServerCredentials.createInsecure(), (error) => {
  if (error) throw error
})
