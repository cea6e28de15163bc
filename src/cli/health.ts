import { once } from 'node:events'
import { request as httpRequest, type IncomingMessage } from 'node:http'
import { request as httpsRequest, type RequestOptions } from 'node:https'
import { urlToHttpOptions } from 'node:url'
import { ConfigurationError } from '../config/problems.ts'
import type { Config, Listen } from '../config/schema.ts'
import { readArguments, type Command, loadConfigFile, UsageError } from './command.ts'

const TIMEOUT_MS = 4_000

/** `gatehouse health`: for a container's HEALTHCHECK and for probes that run a command. */
export const health: Command = {
  help: `gatehouse health [--config FILE] [--ready | --url URL]

Checks the gateway that runs on this machine with the same configuration: sends GET /livez, or GET /readyz with
--ready, to the admin listener. Without an admin listener, any answer of the public listener counts as healthy.
With --url, such as that of a Service, asks the gateway with this configuration there for a session that does not exist,
which a gateway answers with 401. Exits with status 0 if the gateway is healthy, otherwise with 1.
`,
  async run(args) {
    const { values } = readArguments({
      args: [...args],
      strict: true,
      options: { config: { type: 'string' }, ready: { type: 'boolean', default: false }, url: { type: 'string' } },
    })
    if (values.url !== undefined) {
      if (values.ready) throw new UsageError('--ready asks the admin listener of this machine: leave out --url')
      return healthAt(values.url, loadConfigFile(values.config).config)
    }
    const gateway = addressesOf(values.config)
    const { status, target } = await requestHealth(gateway, values.ready)
    // The public listener may answer 4xx, which also shows that the gateway is alive.
    if (gateway.admin === null ? status < 500 : status === 200) return 0
    throw new Error(`${target} answers ${status}`)
  },
}

async function healthAt(url: string, { basePath, publicUrl: [publicUrl = ''] }: Config): Promise<number> {
  if (!/^https?:/.test(url) || !URL.canParse(url))
    throw new UsageError(`--url must be an http or https URL, not ${url}`)
  const target = new URL(`${basePath}/session`, url)
  const { host } = new URL(publicUrl.replace('*', 'health'))
  const status = await statusOf({ ...urlToHttpOptions(target), headers: { host, accept: 'application/json' } })
  if (status === 401) return 0
  throw new Error(`${target.href} answers ${status}; a gateway answers 401`)
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
  const where = 'port' in address ? `${address.host}:${address.port}` : address.socketPath
  const status = await statusOf({ ...address, path, protocol: secure ? 'https:' : 'http:' })
  return { status, target: `${path} at ${where}` }
}

async function statusOf(target: RequestOptions): Promise<number> {
  // The request does not verify the certificate, because the certificate names the public host, and the request leaves
  // neither the machine nor the cluster.
  const request = (target.protocol === 'https:' ? httpsRequest : httpRequest)({
    ...target,
    agent: false,
    rejectUnauthorized: false,
    signal: AbortSignal.timeout(TIMEOUT_MS),
  }).end()
  const [answer]: IncomingMessage[] = await once(request, 'response')
  answer?.resume()
  return answer?.statusCode ?? 0
}

/** Returns the address at which this machine reaches a listener: loopback for a listener on all addresses. */
function localAddress(at: Listen): { host: string; port: number } | { socketPath: string } {
  if ('path' in at) return { socketPath: at.path }
  const loopback: Partial<Record<string, string>> = { '0.0.0.0': '127.0.0.1', '::': '::1' }
  return { host: loopback[at.host] ?? at.host, port: at.port }
}
