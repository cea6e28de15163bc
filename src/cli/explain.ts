import { isIP } from 'node:net'
import { providersOf, type Config } from '../config/schema.ts'
import type { Claims } from '../oidc/token-set.ts'
import { UsageError, readArguments, type Command, loadConfigFile } from './command.ts'
import { explainRequest } from './explanation.ts'

export const explain: Command = {
  help: `gatehouse explain [--config FILE] METHOD URL [-H 'Name: value']... [--claims JSON] [--provider NAME] [--client ADDRESS]

Explains how the gateway would answer a request: the route, the kind of request, the decision and its reason, and what
the upstream would receive. The URL is used exactly as written.
Without --claims the request has no session. With --claims the request has the session of a user with these claims,
which may include acr and auth_time. If the request carries a bearer token and the route accepts bearer tokens, the
claims are those of the token. For basePath/auth the command explains the answer of the forward-auth listener to the
request that the headers describe. With several providers, the user is of the one that --provider names, otherwise of
the one that has the claim iss as its issuer, otherwise of the first one that the route allows.
The request comes from the IP address that --client names. Without --client, a request with X-Forwarded-For comes from a
proxy of trustedProxies, if there is one, and any other request from 127.0.0.1.
The command makes no network requests: provider, store and upstream need not run.
`,
  async run(args) {
    process.stdout.write(await explanationFor(args))
    return 0
  },
}

/** Returns what the command prints for these arguments. */
export async function explanationFor(args: readonly string[]): Promise<string> {
  const { values, positionals } = readArguments({
    args: [...args],
    allowPositionals: true,
    strict: true,
    options: {
      config: { type: 'string' },
      header: { type: 'string', short: 'H', multiple: true },
      claims: { type: 'string' },
      provider: { type: 'string' },
      client: { type: 'string' },
    },
  })
  const [method, url, ...others] = positionals
  if (method === undefined || url === undefined || others.length > 0)
    throw new UsageError('explain needs METHOD and URL; see gatehouse explain --help')
  if (values.client !== undefined && isIP(values.client) === 0)
    throw new UsageError(`--client must be an IP address, not "${values.client}"`)
  const { config } = loadConfigFile(values.config)
  const claims = values.claims === undefined ? null : readClaims(values.claims)
  const lines = await explainRequest(config, {
    method,
    url,
    headers: (values.header ?? []).map(readHeader),
    claims,
    client: values.client ?? null,
    provider: providerNamed(values.provider, config),
    now: Date.now(),
  })
  return `${lines.map(([name, text]) => `${name.padEnd(10)} ${text}`).join('\n')}\n`
}

function providerNamed(name: string | undefined, config: Config): string | null {
  if (name === undefined) return null
  const names = providersOf(config).flatMap((provider) => provider.name ?? [])
  if (names.includes(name)) return name
  throw new UsageError(
    names.length === 0 ? '--provider needs several providers' : `--provider must be one of ${names.join(', ')}`,
  )
}

function readHeader(text: string): readonly [string, string] {
  const colon = text.indexOf(':')
  if (colon < 1) throw new UsageError(`-H must be 'Name: value', not "${text}"`)
  return [text.slice(0, colon).trim(), text.slice(colon + 1).trim()]
}

function readClaims(text: string): Claims {
  let claims: unknown
  try {
    claims = JSON.parse(text)
  } catch {
    throw new UsageError('--claims must be a JSON object, e.g. \'{"sub":"alice","groups":["staff"]}\'')
  }
  if (typeof claims !== 'object' || claims === null || Array.isArray(claims))
    throw new UsageError('--claims must be a JSON object')
  return { ...claims }
}
