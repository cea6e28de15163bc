import { once } from 'node:events'
import { request as httpRequest, type IncomingMessage } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { ConfigurationError } from '../config/problems.ts'
import type { Config, Listen } from '../config/schema.ts'
import { readArguments, type Command } from './command.ts'
import { configured } from './configured.ts'

const TIMEOUT_MS = 4_000

/** `gatehouse health`: for a container's HEALTHCHECK and for probes that run a command. */
export const health: Command = {
  help: `gatehouse health [--config FILE] [--ready]

Checks the gateway that runs on this machine with the same configuration: sends GET /livez, or GET /readyz with
--ready, to the admin listener. Without an admin listener, any answer of the public listener counts as healthy.
Exits with status 0 if the gateway is healthy, otherwise with 1.
`,
  async run(args) {
    const { values } = readArguments({
      args: [...args],
      strict: true,
      options: { config: { type: 'string' }, ready: { type: 'boolean', default: false } },
    })
    const gateway = running(values.config)
    const { status, asked } = await ask(gateway, values.ready)
    // Without the admin listener a 4xx says as much as a 200: somebody is there who answers.
    if (gateway.admin === null ? status < 500 : status === 200) return 0
    throw new Error(`${asked} answers ${status}`)
  },
}

type Gateway = Pick<Config, 'listen' | 'tls' | 'basePath'> & { readonly admin: Pick<Config, 'listen'> | null }

const usual: Gateway = {
  admin: { listen: { host: '127.0.0.1', port: 9090 } },
  listen: { host: '127.0.0.1', port: 8080 },
  tls: null,
  basePath: '/oauth2',
}

function running(file: string | undefined): Gateway {
  try {
    return configured(file).config
  } catch (error) {
    // Broken while the gateway runs: that goes on with what it had, and to say that it is ill would end it.
    if (error instanceof ConfigurationError) return usual
    throw error
  }
}

async function ask(
  { admin, listen, tls, basePath }: Gateway,
  ready: boolean,
): Promise<{ status: number; asked: string }> {
  const path = admin === null ? `${basePath}/session` : ready ? '/readyz' : '/livez'
  const secure = admin === null && tls !== null
  const where = nearest(admin?.listen ?? listen)
  // The certificate is for the world's name of the gateway, and this is its own machine.
  const asking = (secure ? httpsRequest : httpRequest)({
    ...where,
    path,
    agent: false,
    rejectUnauthorized: false,
    signal: AbortSignal.timeout(TIMEOUT_MS),
  }).end()
  const [answer]: IncomingMessage[] = await once(asking, 'response')
  answer?.resume()
  return {
    status: answer?.statusCode ?? 0,
    asked: `${path} at ${'port' in where ? `${where.host}:${where.port}` : where.socketPath}`,
  }
}

/** Where this machine reaches a listener: one on all addresses by loopback. */
function nearest(at: Listen): { host: string; port: number } | { socketPath: string } {
  if ('path' in at) return { socketPath: at.path }
  const everywhere: Partial<Record<string, string>> = { '0.0.0.0': '127.0.0.1', '::': '::1' }
  return { host: everywhere[at.host] ?? at.host, port: at.port }
}
