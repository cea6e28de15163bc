import type { IncomingMessage, ServerResponse } from 'node:http'
import { text } from 'node:stream/consumers'
import type { Test } from 'tap'
import { createBrowser, type Browser } from '../../support/browser.ts'
import type { Answer } from '../../support/exchange.ts'
import { startGateway, type Running } from '../../support/gateway.ts'
import { startScriptedProvider, type ScriptedProvider } from '../scripted-provider.ts'

/** How a provider differs from one that follows the specifications. */
export type Quirks = {
  /** The path of the issuer. */
  readonly path?: string
  /** Members of the discovery document; a path is completed with the origin. */
  readonly document?: Readonly<Record<string, unknown>>
  /** The scopes that the client may request. Any other is answered with `invalid_scope`. */
  readonly scopes: readonly string[]
  /** Whether an authorization request with these parameters leads to a refresh token. */
  readonly issuesRefreshToken: (parameters: URLSearchParams) => boolean
  readonly clientAuthentication?: 'client_secret_basic' | 'client_secret_post'
  readonly refusesPkce?: boolean
  /** Changes the claims of ID tokens; `undefined` removes a claim. */
  readonly claims?: Readonly<Record<string, unknown>>
  readonly members?: (parameters: URLSearchParams) => object
  /** Responses of other paths, such as the logout. */
  readonly replies?: Readonly<Record<string, (request: IncomingMessage, response: ServerResponse) => void>>
}

export type Reenacted = Running & {
  readonly provider: ScriptedProvider
  readonly browser: Browser
  /** The parameters of the authorization requests. */
  readonly authorizations: URLSearchParams[]
  /** The forms that the token endpoint received. */
  readonly tokenRequests: URLSearchParams[]
  /** Logs in on the way to a path, and returns where the browser arrives. */
  readonly visit: (path: string) => Promise<Answer>
  /** Returns the status of a refresh by a script. */
  readonly refresh: () => Promise<number>
  /** Logs out, and returns the URL to which the gateway redirects. */
  readonly logout: () => Promise<URL>
}

const refusal = (response: ServerResponse, status: number, error: string): void => {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify({ error }))
}

/** Starts a provider with these quirks, and a gateway with these settings in front of it. Both end with the test. */
export const reenact = async (
  t: Test,
  quirks: Quirks,
  settings: object,
  config: Readonly<Record<string, unknown>> = {},
): Promise<Reenacted> => {
  const provider = await startScriptedProvider(t, quirks.path)
  const { document, paths, origin } = provider
  for (const [name, value] of Object.entries(quirks.document ?? {}))
    document[name] = typeof value === 'string' && value.startsWith('/') ? origin + value : value
  const authorizations: URLSearchParams[] = []
  const tokenRequests: URLSearchParams[] = []
  const logins = new Map<string, URLSearchParams>()

  paths.set(new URL(String(document['authorization_endpoint'])).pathname, (request, response) => {
    const { searchParams } = new URL(request.url ?? '', origin)
    authorizations.push(searchParams)
    const answer = new URLSearchParams({ state: searchParams.get('state') ?? '' })
    const unknown = (searchParams.get('scope') ?? '').split(' ').filter((scope) => !quirks.scopes.includes(scope))
    if (unknown.length > 0) answer.set('error', 'invalid_scope')
    else if (quirks.refusesPkce === true && searchParams.has('code_challenge')) answer.set('error', 'invalid_request')
    else {
      const code = `code-${logins.size}`
      logins.set(code, searchParams)
      answer.set('code', code)
    }
    const to = searchParams.get('redirect_uri') ?? ''
    if (searchParams.get('response_mode') === 'form_post') {
      const fields = [...answer]
        .map(([name, value]) => `<input type="hidden" name="${name}" value="${value}">`)
        .join('')
      const script = '<script>document.forms[0].submit()</script>'
      response.writeHead(200, { 'content-type': 'text/html' })
      response.end(`<form method="post" action="${to}">${fields}</form>${script}`)
    } else response.writeHead(302, { location: `${to}?${answer.toString()}` }).end()
  })

  const answerToken = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const form = new URLSearchParams(await text(request))
    tokenRequests.push(form)
    const method = request.headers.authorization === undefined ? 'client_secret_post' : 'client_secret_basic'
    if (quirks.clientAuthentication !== undefined && method !== quirks.clientAuthentication)
      return refusal(response, 401, 'invalid_client')
    if (quirks.refusesPkce === true && form.has('code_verifier')) return refusal(response, 400, 'invalid_request')
    const grant = form.get(form.get('grant_type') === 'refresh_token' ? 'refresh_token' : 'code') ?? ''
    const login = logins.get(grant.replace('refresh-of-', ''))
    if (login === undefined) return refusal(response, 400, 'invalid_grant')
    const now = Math.floor(Date.now() / 1000)
    const idToken = await provider.sign({
      iss: provider.issuer,
      sub: 'alice',
      aud: login.get('client_id') ?? '',
      iat: now,
      exp: now + 300,
      nonce: login.get('nonce') ?? '',
      ...quirks.claims,
    })
    response.writeHead(200, { 'content-type': 'application/json' }).end(
      JSON.stringify({
        access_token: `access-${tokenRequests.length}`,
        token_type: 'Bearer',
        expires_in: 3600,
        id_token: idToken,
        ...(quirks.issuesRefreshToken(login)
          ? { refresh_token: `refresh-of-${grant.replace('refresh-of-', '')}` }
          : {}),
        ...quirks.members?.(login),
      }),
    )
  }
  paths.set(new URL(String(document['token_endpoint'])).pathname, (request, response) => {
    void answerToken(request, response)
  })
  for (const [path, reply] of Object.entries(quirks.replies ?? {})) paths.set(path, reply)

  const running = await startGateway(t, {
    config: { ...config, provider: { issuer: provider.issuer, ...settings } },
  })
  const publicUrl = running.config.publicUrl[0] ?? ''
  const browser = createBrowser(publicUrl === running.url ? {} : { origins: { [publicUrl]: running.url } })
  return {
    ...running,
    provider,
    browser,
    authorizations,
    tokenRequests,
    async visit(path) {
      const { answer } = await browser.follow(await browser.get(publicUrl + path))
      return answer
    },
    async refresh() {
      return (await browser.post(`${publicUrl}/oauth2/session/refresh`, '', { kind: 'script' })).status
    },
    async logout() {
      const { headers } = await browser.get(`${publicUrl}/oauth2/logout`)
      return new URL(headers.location ?? '', publicUrl)
    },
  }
}
