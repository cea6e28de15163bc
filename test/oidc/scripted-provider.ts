import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createTlsServer, type ServerOptions } from 'node:https'
import { text } from 'node:stream/consumers'
import { exportJWK, generateKeyPair, SignJWT, type JWK, type JWTPayload } from 'jose'
import type { Test } from 'tap'
import { boundPort } from '../../src/demo/bound-port.ts'
import { createBrowser, type Browser } from '../support/browser.ts'
import type { Answer } from '../support/exchange.ts'
import { beginLogin } from '../support/sign-in.ts'

/** The response of one path: JSON, or raw bytes. */
type Reply = object | ((request: IncomingMessage, response: ServerResponse) => void)

/** A provider whose every response a test can change. It issues no codes: a test makes the callback itself. */
export type ScriptedProvider = {
  readonly origin: string
  readonly issuer: string
  /** The discovery document. */
  readonly document: Record<string, unknown>
  /** The response of each path; any other path is a 404. */
  readonly paths: Map<string, Reply>
  /** The number of requests for a path. */
  readonly asked: (path: string) => number
  readonly sign: (claims: JWTPayload, header?: { readonly typ?: string }) => Promise<string>
  /** Replaces the signing key, which is the only one in `keys`. */
  readonly rotate: () => Promise<void>
  /** Issues a code for an authorization request, like `login`, and returns the URL of the callback. */
  readonly callback: (authorization: URL, claims: JWTPayload, members: object) => Promise<URL>
  /**
   * Logs in at a gateway with an ID token of these claims, other members of the token response, and other parameters of
   * the callback.
   */
  readonly login: (
    gateway: string,
    claims?: JWTPayload,
    members?: object,
    parameters?: Record<string, string>,
  ) => Promise<Visit>
}

type Visit = { readonly browser: Browser; readonly answer: Answer; readonly authorization: URL }

const newKey = async (name: string) => {
  const { publicKey, privateKey } = await generateKeyPair('RS256')
  const jwk: JWK = { ...(await exportJWK(publicKey)), kid: name, alg: 'RS256', use: 'sig' }
  return { jwk, privateKey }
}

type Listening = {
  readonly tls?: ServerOptions
  /** The host name in the issuer and the endpoints. */
  readonly host?: string
}

/** The claims of alice's ID token for an authorization request with these parameters. */
export const claimsFor = (iss: string, parameters: URLSearchParams) => {
  const now = Math.floor(Date.now() / 1000)
  return {
    iss,
    sub: 'alice',
    aud: parameters.get('client_id') ?? '',
    nonce: parameters.get('nonce') ?? '',
    iat: now,
    exp: now + 300,
  }
}

/** Starts a provider with an issuer of this path; it ends with the test. */
export const startScriptedProvider = async (
  t: Test,
  path = '',
  { tls, host = '127.0.0.1' }: Listening = {},
): Promise<ScriptedProvider> => {
  const paths = new Map<string, Reply>()
  const asked = new Map<string, number>()
  const answer = (request: IncomingMessage, response: ServerResponse): void => {
    const { pathname } = new URL(request.url ?? '/', 'http://provider')
    asked.set(pathname, (asked.get(pathname) ?? 0) + 1)
    const reply = paths.get(pathname)
    if (typeof reply === 'function') reply(request, response)
    else if (reply === undefined) response.writeHead(404, { 'content-type': 'text/html' }).end('<p>Not found')
    else response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(reply))
  }
  const server = tls === undefined ? createServer(answer) : createTlsServer(tls, answer)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(async () => {
    server.close()
    server.closeAllConnections()
    await once(server, 'close')
  })
  const origin = `${tls === undefined ? 'http' : 'https'}://${host}:${boundPort(server)}`
  const issuer = `${origin}${path}`
  const document: Record<string, unknown> = {
    issuer,
    authorization_endpoint: `${origin}/authorize`,
    token_endpoint: `${origin}/token`,
    jwks_uri: `${origin}/keys`,
    userinfo_endpoint: `${origin}/userinfo`,
    response_types_supported: ['code'],
    subject_types_supported: ['public'],
    id_token_signing_alg_values_supported: ['RS256'],
  }
  let names = 0
  let key = await newKey('0')
  const keys = { keys: [key.jwk] }
  paths.set(`${path}/.well-known/openid-configuration`, document)
  paths.set('/keys', keys)
  const answers = new Map<string, object>()
  const answerCode: Reply = (request, response) => {
    void text(request).then((form) => {
      const answer = answers.get(new URLSearchParams(form).get('code') ?? '')
      response.writeHead(answer === undefined ? 400 : 200, { 'content-type': 'application/json' })
      response.end(JSON.stringify(answer ?? { error: 'invalid_grant' }))
    })
  }
  const sign: ScriptedProvider['sign'] = async (claims, header = {}) =>
    new SignJWT(claims).setProtectedHeader({ alg: 'RS256', kid: key.jwk.kid ?? '', ...header }).sign(key.privateKey)

  const callback: ScriptedProvider['callback'] = async ({ searchParams }, claims, members) => {
    const idToken = await sign({ ...claimsFor(issuer, searchParams), ...claims })
    const code = `code-${answers.size}`
    const body = { access_token: 'an-access-token', token_type: 'Bearer', expires_in: 300, id_token: idToken }
    answers.set(code, { ...body, ...members })
    paths.set(new URL(String(document['token_endpoint'])).pathname, answerCode)
    const url = new URL(searchParams.get('redirect_uri') ?? '')
    url.search = new URLSearchParams({ code, state: searchParams.get('state') ?? '' }).toString()
    return url
  }

  return {
    origin,
    issuer,
    document,
    paths,
    asked: (at) => asked.get(at) ?? 0,
    sign,
    async rotate() {
      names += 1
      key = await newKey(String(names))
      keys.keys = [key.jwk]
    },
    callback,
    async login(gateway, claims = {}, members = {}, parameters = {}) {
      const browser = createBrowser()
      const authorization = await beginLogin(browser, gateway, { redirect: '/orders' })
      const url = await callback(authorization, claims, members)
      for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value)
      return { browser, authorization, answer: await browser.get(url.href) }
    },
  }
}
