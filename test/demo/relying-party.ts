import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import * as oidc from 'openid-client'
import { boundPort } from '../../src/demo/bound-port.ts'
import type { Idp } from '../../src/demo/idp.ts'
import type { IdpClient } from '../../src/demo/idp/clients.ts'

/** The outcome of a login: the tokens, or the provider's error. */
export type Outcome = { tokens: oidc.TokenEndpointResponse & oidc.TokenEndpointResponseHelpers } | { error: string }

/** A minimal relying party, for tests of the provider without a gateway. */
export type RelyingParty = {
  url: string
  configuration: oidc.Configuration
  /** Returns the URL that starts a login with additional parameters, pushed to the provider first if `par` is true. */
  loginUrl: (parameters?: Readonly<Record<string, string>>, options?: { par?: boolean }) => Promise<string>
  /** Returns the outcome of the latest callback; throws if there was none, or if its tokens were refused. */
  outcome: () => Outcome
  /** Returns the tokens of the latest login; throws the provider's error. */
  tokens: () => Extract<Outcome, { tokens: unknown }>['tokens']
  /** The logout tokens that arrived over the back channel, and the queries of front-channel requests. */
  logoutTokens: string[]
  frontchannelLogouts: Record<string, string>[]
  close: () => Promise<void>
}

/** Listens on a free port, registers itself at the provider and discovers it. */
export const startRelyingParty = async (
  idp: Idp,
  {
    client = {},
    authentication,
    insecure = true,
  }: {
    client?: Partial<IdpClient>
    authentication?: oidc.ClientAuth
    insecure?: boolean
  } = {},
): Promise<RelyingParty> => {
  const pending = new Map<string, { verifier: string; nonce: string }>()
  const logoutTokens: string[] = []
  const frontchannelLogouts: Record<string, string>[] = []
  let latest: Outcome | null = null

  const finish = async (url: URL): Promise<Outcome> => {
    const state = url.searchParams.get('state') ?? ''
    const { verifier, nonce } = pending.get(state) ?? { verifier: '', nonce: '' }
    try {
      const tokens = await oidc.authorizationCodeGrant(configuration, url, {
        pkceCodeVerifier: verifier,
        expectedNonce: nonce,
        expectedState: state,
        idTokenExpected: true,
      })
      return { tokens }
    } catch (error) {
      if (error instanceof oidc.AuthorizationResponseError) return { error: error.error }
      throw error
    }
  }

  const answerCallback = async (url: URL, res: ServerResponse): Promise<void> => {
    latest = null
    try {
      latest = await finish(url)
      res.end('error' in latest ? latest.error : 'signed in')
    } catch (error) {
      res.writeHead(500).end(String(error))
    }
  }

  const server = createServer((req, res) => {
    const url = new URL(req.url ?? '/', base)
    const body: Buffer[] = []
    req
      .on('data', (chunk: Buffer) => body.push(chunk))
      .on('end', () => {
        const form = new URLSearchParams(Buffer.concat(body).toString())
        if (url.pathname === '/frontchannel') frontchannelLogouts.push(Object.fromEntries(url.searchParams))
        if (url.pathname === '/backchannel') logoutTokens.push(form.get('logout_token') ?? '')
        if (url.pathname !== '/callback') {
          res.end('ok')
          return
        }
        for (const [name, value] of form) url.searchParams.set(name, value)
        void answerCallback(url, res)
      })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const base = `http://127.0.0.1:${boundPort(server)}`

  const secret = 'a-secret-of-the-relying-party'
  await idp.registerClient({
    clientId: 'relying-party',
    ...(client.jwks === undefined && client.clientAuthentication !== 'none' ? { clientSecret: secret } : {}),
    redirectUris: [`${base}/callback`],
    postLogoutRedirectUris: [`${base}/bye`],
    ...client,
  })
  const alg = client.idTokenSigningAlgorithm
  const configuration = await oidc.discovery(
    new URL(idp.issuer),
    'relying-party',
    { client_secret: secret, ...(alg === undefined ? {} : { id_token_signed_response_alg: alg }) },
    authentication ?? oidc.ClientSecretPost(secret),
    insecure ? { execute: [oidc.allowInsecureRequests] } : {},
  )

  const outcome = (): Outcome => {
    if (latest === null) throw new Error('no login has come back')
    return latest
  }

  return {
    url: base,
    configuration,
    logoutTokens,
    frontchannelLogouts,
    outcome,
    tokens: () => {
      const came = outcome()
      if ('error' in came) throw new Error(`the provider said ${came.error}`)
      return came.tokens
    },
    loginUrl: async (parameters = {}, { par = false } = {}) => {
      const verifier = oidc.randomPKCECodeVerifier()
      const state = oidc.randomState()
      const nonce = oidc.randomNonce()
      pending.set(state, { verifier, nonce })
      const all = {
        redirect_uri: `${base}/callback`,
        scope: 'openid profile email offline_access',
        code_challenge: await oidc.calculatePKCECodeChallenge(verifier),
        code_challenge_method: 'S256',
        state,
        nonce,
        ...parameters,
      }
      const url = par
        ? await oidc.buildAuthorizationUrlWithPAR(configuration, all)
        : oidc.buildAuthorizationUrl(configuration, all)
      return url.href
    },
    close: async () => {
      server.close()
      server.closeAllConnections()
      await once(server, 'close')
    },
  }
}
