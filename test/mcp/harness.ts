import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import { Agent } from 'undici'
import { parse, stringify } from 'yaml'
import { interpolate } from '../../src/config/interpolate.ts'
import { boundPort } from '../../src/demo/bound-port.ts'
import { startIdp, type Idp, type IdpOptions } from '../../src/demo/idp.ts'
import { createBrowser, type Browser } from '../support/browser.ts'
import { createAuthority } from '../support/certificates.ts'
import { eventually } from '../support/eventually.ts'
import { freePort } from '../support/free-port.ts'
import { asFile } from '../support/gateway.ts'
import { startProcess, type GatewayProcess } from '../support/gateway-process.ts'
import { clientMetadata } from './login.ts'

const example = (name: string): string => fileURLToPath(new URL(`../../examples/mcp/${name}`, import.meta.url))

export type Mcp = {
  /** The URL of the MCP server behind the gateway. */
  readonly url: URL
  readonly origin: string
  readonly idp: Idp
  readonly gateway: GatewayProcess
  /** Where the provider redirects the browsers of clients. */
  readonly callback: string
  /** The URL of a client ID metadata document, which a client can use as its ID. */
  readonly metadataUrl: string
  /** Follows an authorization URL as a user does, and returns the query of the redirect to the client. */
  readonly logIn: (url: URL, browser?: Browser) => Promise<URLSearchParams>
  /** Writes another configuration for the route of the MCP server, and waits until the gateway has loaded it. */
  readonly reconfigure: (route: object) => Promise<void>
}

type Route = Readonly<Record<string, unknown>>

type Options = {
  readonly idp?: IdpOptions
  /** Changes the route of the example. */
  readonly route?: (example: Route) => Route
  readonly moreRoutes?: readonly Route[]
  readonly provider?: object
  /** The origin of another MCP server than the example. */
  readonly upstream?: string
}

/** Starts the MCP server of the example, and returns its origin. */
const startExample = async (t: Test): Promise<string> => {
  const child = spawn(process.execPath, ['--import=tsx', example('server.ts')], {
    env: { PORT: '0' },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  t.teardown(() => {
    child.kill('SIGKILL')
  })
  for await (const line of createInterface(child.stdout)) {
    const url = /^MCP server: (.*)$/.exec(line)?.[1]
    if (url !== undefined) return new URL(url).origin
  }
  throw new Error('the MCP server did not start')
}

/** Starts the page of a client to which the provider redirects. */
const startCallback = async (t: Test): Promise<string> => {
  const server = createServer((_req, res) => res.end('signed in')).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  return `http://127.0.0.1:${boundPort(server)}/callback`
}

/** Publishes the metadata of a client, and returns its URL with the authority of its certificate. */
const publishMetadata = async (t: Test, callback: string): Promise<{ url: string; ca: string }> => {
  const authority = createAuthority()
  const server = createTlsServer(authority.issue(['localhost']), (_req, res) => {
    res.setHeader('content-type', 'application/json')
    res.end(JSON.stringify({ client_id: url, ...clientMetadata(callback) }))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.close()
    server.closeAllConnections()
  })
  const url = `https://localhost:${boundPort(server)}/client.json`
  return { url, ca: authority.ca }
}

/** Starts a provider at which clients register themselves, the example's MCP server, and a gateway in its own process. */
export const startMcp = async (t: Test, options: Options = {}): Promise<Mcp> => {
  const [port, upstream, callback] = await Promise.all([
    freePort(),
    options.upstream ?? startExample(t),
    startCallback(t),
  ])
  const metadata = await publishMetadata(t, callback)
  const dispatcher = new Agent({ connect: { ca: metadata.ca } })
  const idp = await startIdp({
    ...options.idp,
    selfRegistration: true,
    fetch: async (url, init) => fetch(url, { ...init, dispatcher } as object),
  })
  t.teardown(async () => {
    await idp.close()
    if (idp.serverErrors.length > 0) throw new AggregateError(idp.serverErrors, 'the provider made mistakes of its own')
  })
  const origin = `http://127.0.0.1:${port}`
  const secret = randomBytes(16).toString('hex')
  await idp.registerClient({
    clientId: 'gateway',
    clientSecret: secret,
    redirectUris: [`${origin}/oauth2/callback`],
  })
  const filled = interpolate(readFileSync(example('gatehouse.yaml'), 'utf8'), {
    env: {
      PORT: String(port),
      PUBLIC_URL: origin,
      UPSTREAM: upstream,
      ISSUER: idp.issuer,
      CLIENT_ID: 'gateway',
      CLIENT_SECRET: secret,
      SESSION_KEY: randomBytes(32).toString('base64'),
    },
    readText: (path) => ({ reason: `the example names ${path}` }),
  })
  if ('problems' in filled) throw new Error(filled.problems.map(({ message }) => message).join('\n'))
  const configuration: { provider: object; routes: [Route] } = parse(filled.text)
  const [route] = configuration.routes
  const admin = `127.0.0.1:${await freePort()}`
  const settings = (changed: Route) => ({
    ...configuration,
    admin: { listen: admin },
    rateLimit: { login: 'off', callback: 'off', session: 'off', requests: 'off' },
    provider: { ...configuration.provider, clockTolerance: '0s', ...options.provider },
    routes: [changed, ...(options.moreRoutes ?? [])],
    log: { level: 'debug' },
  })
  const file = asFile(t, settings(options.route?.(route) ?? route))
  const gateway = await startProcess(t, file, origin, `http://${admin}`)
  return {
    url: new URL('/mcp', origin),
    origin,
    idp,
    gateway,
    callback,
    metadataUrl: metadata.url,
    logIn: async (url, browser = createBrowser()) => {
      const { answer } = await browser.login(url.href, 'alice')
      if (!answer.url.startsWith(callback)) throw new Error(`the login ended at ${answer.url}: ${answer.body}`)
      const { searchParams } = new URL(answer.url)
      if (searchParams.has('error')) throw new Error(`the login failed: ${searchParams.toString()}`)
      return searchParams
    },
    reconfigure: async (changes) => {
      const before = gateway.events('reloaded').length
      writeFileSync(file, stringify(settings({ ...route, ...changes })))
      gateway.hangUp()
      await eventually(() => gateway.events('reloaded').length > before, { what: 'the gateway has reloaded' })
    },
  }
}
