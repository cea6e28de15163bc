import { once } from 'node:events'
import { request as httpRequest, type IncomingMessage } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { ConfigurationError } from '../config/problems.ts'
import type { Config, Listen } from '../config/schema.ts'
import { readArguments, type Command, loadConfigFile } from './command.ts'

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
    const gateway = addressesOf(values.config)
    const { status, target } = await requestHealth(gateway, values.ready)
    // The public listener may answer 4xx, which also shows that the gateway is alive.
    if (gateway.admin === null ? status < 500 : status === 200) return 0
    throw new Error(`${target} answers ${status}`)
  },
}

type Gateway = Pick<Config, 'listen' | 'tls' | 'basePath'> & { readonly admin: Pick<Config, 'listen'> | null }

const defaultGateway: Gateway = {
  admin: { listen: { host: '127.0.0.1', port: 9090 } },
  listen: { host: '127.0.0.1', port: 8080 },
  tls: null,
  basePath: '/oauth2',
}

function addressesOf(file: string | undefined): Gateway {
  try {
    return loadConfigFile(file).config
  } catch (error) {
    // A running gateway ignores a broken configuration, so a failed check would make its supervisor restart it needlessly.
    if (error instanceof ConfigurationError) return defaultGateway
    throw error
  }
}

async function requestHealth(
  { admin, listen, tls, basePath }: Gateway,
  ready: boolean,
): Promise<{ status: number; target: string }> {
  const path = admin === null ? `${basePath}/session` : ready ? '/readyz' : '/livez'
  const secure = admin === null && tls !== null
  const address = localAddress(admin?.listen ?? listen)
  // The request does not verify the certificate, because the certificate names the public host and the request does not
  // leave the machine.
  const request = (secure ? httpsRequest : httpRequest)({
    ...address,
    path,
    agent: false,
    rejectUnauthorized: false,
    signal: AbortSignal.timeout(TIMEOUT_MS),
  }).end()
  const [answer]: IncomingMessage[] = await once(request, 'response')
  answer?.resume()
  return {
    status: answer?.statusCode ?? 0,
    target: `${path} at ${'port' in address ? `${address.host}:${address.port}` : address.socketPath}`,
  }
}

/** Returns the address at which this machine reaches a listener: loopback for a listener on all addresses. */
function localAddress(at: Listen): { host: string; port: number } | { socketPath: string } {
  if ('path' in at) return { socketPath: at.path }
  const loopback: Partial<Record<string, string>> = { '0.0.0.0': '127.0.0.1', '::': '::1' }
  return { host: loopback[at.host] ?? at.host, port: at.port }
}
