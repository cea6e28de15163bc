import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { Test } from 'tap'
import { boundPort } from '../../src/demo/bound-port.ts'

export type Application = {
  readonly url: string
  readonly requests: readonly IncomingMessage[]
}

/** Starts an application that answers with this listener. The server closes when the test ends. */
export const startApplication = async (
  t: Test,
  listener: (req: IncomingMessage, res: ServerResponse) => void,
): Promise<Application> => {
  const requests: IncomingMessage[] = []
  const server = createServer((req, res) => {
    requests.push(req)
    listener(req, res)
  })
  server.keepAliveTimeout = 60_000
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.close()
    server.closeAllConnections()
  })
  return { url: `http://127.0.0.1:${boundPort(server)}`, requests }
}
