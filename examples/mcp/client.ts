// A client that logs in and calls the tools of the server, with the official SDK. It prints each HTTP request and the
// URL at which the user logs in.
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { parseArgs } from 'node:util'
import {
  auth,
  Client,
  StreamableHTTPClientTransport,
  UnauthorizedError,
  type OAuthClientProvider,
  type OAuthDiscoveryState,
  type StoredOAuthClientInformation,
  type StoredOAuthTokens,
} from '@modelcontextprotocol/client'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    'client-id': { type: 'string' },
    'client-metadata-url': { type: 'string' },
    'callback-port': { type: 'string', default: '0' },
  },
})
const serverUrl = new URL(positionals[0] ?? 'http://localhost:8080/mcp')
const clientId = values['client-id']
const clientMetadataUrl = values['client-metadata-url']

function print(...lines: readonly string[]): void {
  process.stdout.write(lines.map((line) => `${line}\n`).join(''))
}

/** Sends a request, and prints it with the status of the response. */
async function printingFetch(url: string | URL, init?: RequestInit): Promise<Response> {
  const response = await fetch(url, init)
  const { origin, pathname } = new URL(url)
  print(`  ${init?.method ?? 'GET'} ${origin}${pathname} → ${response.status}`)
  const challenge = response.headers.get('www-authenticate')
  if (challenge !== null) print(`    WWW-Authenticate: ${challenge}`)
  return response
}

/** Listens for the redirect that ends a login at the provider. */
async function startCallback() {
  let resolve: ((query: URLSearchParams) => void) | null = null
  let state = ''
  const server = createServer((req, res) => {
    const { pathname, searchParams } = new URL(req.url ?? '/', 'http://localhost')
    if (pathname !== '/callback' || resolve === null || searchParams.get('state') !== state) {
      res.writeHead(404).end()
      return
    }
    res.end('You are signed in. Return to the terminal.\n')
    resolve(searchParams)
    resolve = null
  })
  server.listen(Number(values['callback-port']), '127.0.0.1')
  await once(server, 'listening')
  const bound = server.address()
  return {
    url: `http://127.0.0.1:${typeof bound === 'object' && bound !== null ? bound.port : 0}/callback`,
    startLogin: () => (state = randomUUID()),
    redirected: async () =>
      new Promise<URLSearchParams>((settle) => {
        resolve = settle
      }),
    close() {
      server.close()
      server.closeAllConnections()
    },
  }
}

const callback = await startCallback()

/** Keeps everything in memory. A real client stores it, so that its user logs in only once. */
class Login implements OAuthClientProvider {
  readonly redirectUrl = callback.url
  readonly clientMetadata = {
    client_name: 'Example client',
    redirect_uris: [callback.url],
    grant_types: ['authorization_code', 'refresh_token'],
    token_endpoint_auth_method: 'none',
  }
  #client: StoredOAuthClientInformation | undefined = clientId === undefined ? undefined : { client_id: clientId }
  #tokens: StoredOAuthTokens | undefined
  #verifier = ''
  #discovery: OAuthDiscoveryState | undefined

  get clientMetadataUrl(): string {
    return clientMetadataUrl ?? ''
  }
  state(): string {
    return callback.startLogin()
  }
  redirectToAuthorization(url: URL): void {
    print('', 'Open this URL in a browser to log in:', url.href, '')
  }
  clientInformation(): StoredOAuthClientInformation | undefined {
    return this.#client
  }
  saveClientInformation(client: StoredOAuthClientInformation): void {
    print(`    the client is ${client.client_id}`)
    this.#client = client
  }
  tokens(): StoredOAuthTokens | undefined {
    return this.#tokens
  }
  saveTokens(tokens: StoredOAuthTokens): void {
    print(`    the token has the scopes ${tokens.scope}`)
    this.#tokens = tokens
  }
  saveCodeVerifier(verifier: string): void {
    this.#verifier = verifier
  }
  codeVerifier(): string {
    return this.#verifier
  }
  saveDiscoveryState(state: OAuthDiscoveryState): void {
    this.#discovery = state
  }
  discoveryState(): OAuthDiscoveryState | undefined {
    return this.#discovery
  }
}

const login = new Login()
let transport = createTransport()

function createTransport(): StreamableHTTPClientTransport {
  return new StreamableHTTPClientTransport(serverUrl, { authProvider: login, fetch: printingFetch })
}

/** Runs an action, and once more after the login that it may require. */
async function withLogin<T>(action: () => Promise<T>): Promise<T> {
  try {
    return await action()
  } catch (error) {
    if (!(error instanceof UnauthorizedError)) throw error
    await transport.finishAuth(await callback.redirected())
    return action()
  }
}

const client = new Client({ name: 'example-client', version: '1.0.0' })
client.setNotificationHandler('notifications/resources/updated', ({ params }) => {
  print(`  the server reports a change of ${params.uri}`)
})

async function call(name: string, toolArguments: Record<string, string> = {}): Promise<void> {
  const { content } = await client.callTool(
    { name, arguments: toolArguments },
    { onprogress: ({ progress, total, message }) => print(`    ${progress} of ${total}: ${message}`) },
  )
  for (const block of content) if (block.type === 'text') print(`    ${block.text}`)
}

print(`Connecting to ${serverUrl.href} without a token`)
await withLogin(async () => {
  transport = createTransport()
  await client.connect(transport)
})

print('', 'Listing and calling tools')
const { tools } = await client.listTools()
print(`    ${tools.map(({ name }) => name).join(', ')}`)
await call('list_orders')

print('', 'Calling a tool that reports progress')
await call('export_orders')

print('', 'Refreshing the token')
if (login.tokens()?.refresh_token === undefined) print('    the provider has issued no refresh token')
else await auth(login, { serverUrl, fetchFn: printingFetch })
await call('list_orders')

print('', 'Calling a tool that requires a further scope')
await withLogin(async () => call('cancel_order', { id: 'A-1003' }))

print('', 'Ending the session')
await transport.terminateSession()
await client.close()
callback.close()
print('', 'Done.')
