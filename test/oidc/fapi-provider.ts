import { createHash, randomBytes } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { text } from 'node:stream/consumers'
import { exportJWK, exportPKCS8, generateKeyPair, jwtVerify, SignJWT, type CryptoKey, type JWTPayload } from 'jose'
import type { Test } from 'tap'
import { parse } from 'yaml'
import { createBrowser, type Browser } from '../support/browser.ts'
import { documented } from '../support/documented.ts'
import { createProofCheck, NonceError } from '../support/dpop.ts'
import type { Answer } from '../support/exchange.ts'
import { beginLogin } from '../support/sign-in.ts'
import { startScriptedProvider, type ScriptedProvider } from './scripted-provider.ts'

/** Members of the responses to one login that replace the valid ones; `undefined` leaves a member out. */
export type Bend = {
  /** The parameters of the callback. */
  readonly callback?: Readonly<Record<string, string | undefined>>
  readonly tokens?: Readonly<Record<string, unknown>>
  readonly idToken?: Readonly<Record<string, unknown>>
  /** The algorithm of the ID token; default ES256. */
  readonly algorithm?: 'none' | 'PS256'
}

export type FapiProvider = Pick<ScriptedProvider, 'document' | 'issuer' | 'origin'> & {
  /** The documented configuration, with the data of this client. */
  readonly client: object
  /** What the client did wrong. */
  readonly problems: string[]
  /** The thumbprint of the key to which each access token is bound. */
  readonly bindings: ReadonlyMap<string, string>
  /** How many requests had no valid nonce. */
  readonly withoutNonce: () => number
  readonly login: (gateway: string, bend?: Bend) => Promise<{ browser: Browser; answer: Answer }>
}

export const CLIENT_ID = 'fapi-client'
const KEY_ID = 'fapi-key'

/** Returns the provider's section of the documented configuration for FAPI 2.0. */
export const documentedProvider = (): object => {
  const text = documented('tokens.md', 'yaml').find((block) => block.includes('dpop: on')) ?? ''
  const { provider }: { provider: object } = parse(text)
  return provider
}

type Code = { readonly parameters: URLSearchParams; readonly bend: Bend }

/**
 * Starts a provider that holds its client to the FAPI 2.0 Security Profile: pushed requests, `private_key_jwt`, PKCE and
 * DPoP with nonces.
 * @see https://openid.net/specs/fapi-security-profile-2_0-final.html#section-5.3.3
 */
export const startFapiProvider = async (t: Test): Promise<FapiProvider> => {
  const provider = await startScriptedProvider(t)
  const { document, issuer, origin, paths } = provider
  const [es256, ps256, ofClient] = await Promise.all([
    generateKeyPair('ES256'),
    generateKeyPair('PS256'),
    generateKeyPair('ES256', { extractable: true }),
  ])
  Object.assign(document, {
    pushed_authorization_request_endpoint: `${origin}/par`,
    require_pushed_authorization_requests: true,
    authorization_response_iss_parameter_supported: true,
    token_endpoint_auth_methods_supported: ['private_key_jwt'],
    token_endpoint_auth_signing_alg_values_supported: ['ES256'],
    dpop_signing_alg_values_supported: ['ES256'],
    id_token_signing_alg_values_supported: ['ES256'],
    code_challenge_methods_supported: ['S256'],
  })
  paths.set('/keys', {
    keys: [
      { ...(await exportJWK(es256.publicKey)), kid: 'es', alg: 'ES256', use: 'sig' },
      { ...(await exportJWK(ps256.publicKey)), kid: 'ps', alg: 'PS256', use: 'sig' },
    ],
  })

  const problems: string[] = []
  const bindings = new Map<string, string>()
  const pushed = new Map<string, URLSearchParams>()
  const codes = new Map<string, Code>()
  const refreshTokens = new Set<string>()
  const assertions = new Set<unknown>()
  const checkProof = createProofCheck()
  let [nonce, nonces, withoutNonce] = ['', 0, 0]
  const renewNonce = (): string => {
    nonces += 1
    nonce = `nonce-${nonces}`
    return nonce
  }
  renewNonce()

  const requireThat = (condition: boolean, problem: string): void => {
    if (!condition) throw new Error(problem)
  }

  const authenticate = async (form: URLSearchParams, { headers }: IncomingMessage): Promise<void> => {
    requireThat(headers.authorization === undefined && !form.has('client_secret'), 'a client secret was sent')
    requireThat(
      form.get('client_assertion_type') === 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
      'no client assertion',
    )
    const { payload, protectedHeader } = await jwtVerify(form.get('client_assertion') ?? '', ofClient.publicKey, {
      algorithms: ['ES256'],
      issuer: CLIENT_ID,
      subject: CLIENT_ID,
      requiredClaims: ['exp', 'iat', 'jti'],
    })
    requireThat(protectedHeader.kid === KEY_ID, `the kid is ${String(protectedHeader.kid)}`)
    requireThat(payload.aud === issuer, `the aud is ${JSON.stringify(payload.aud)}`)
    requireThat(Number(payload.exp) - Date.now() / 1000 < 600, 'the assertion is valid for more than ten minutes')
    requireThat(!assertions.has(payload.jti), 'the assertion was used before')
    assertions.add(payload.jti)
  }

  const push = (form: URLSearchParams): object => {
    requireThat(form.get('response_type') === 'code', 'the response type is not code')
    requireThat(form.get('code_challenge_method') === 'S256', 'no PKCE with S256')
    for (const name of ['state', 'nonce', 'redirect_uri', 'dpop_jkt', 'code_challenge'])
      requireThat(form.has(name), `no ${name}`)
    requireThat(!form.has('request_uri'), 'a request_uri was pushed')
    const uri = `urn:ietf:params:oauth:request_uri:${randomBytes(16).toString('hex')}`
    pushed.set(uri, form)
    return { request_uri: uri, expires_in: 60 }
  }

  const signIdToken = async (claims: JWTPayload, algorithm: 'ES256' | 'PS256' | 'none'): Promise<string> => {
    if (algorithm === 'none') {
      const [header, body] = [{ alg: 'none' }, claims].map((part) =>
        Buffer.from(JSON.stringify(part)).toString('base64url'),
      )
      return `${header ?? ''}.${body ?? ''}.`
    }
    const [key, kid]: [CryptoKey, string] = algorithm === 'ES256' ? [es256.privateKey, 'es'] : [ps256.privateKey, 'ps']
    return new SignJWT(claims).setProtectedHeader({ alg: algorithm, kid }).sign(key)
  }

  const tokensFor = (jkt: string): { access_token: string; refresh_token: string; token_type: string } => {
    const [access, refresh] = [randomBytes(16).toString('hex'), randomBytes(16).toString('hex')]
    bindings.set(access, jkt)
    refreshTokens.add(refresh)
    return { access_token: access, refresh_token: refresh, token_type: 'DPoP' }
  }

  const redeem = async (form: URLSearchParams, jkt: string): Promise<object> => {
    const code = codes.get(form.get('code') ?? '')
    if (code === undefined) throw new Error('the code is unknown or was used before')
    codes.delete(form.get('code') ?? '')
    const { parameters, bend } = code
    const challenge = createHash('sha256')
      .update(form.get('code_verifier') ?? '')
      .digest('base64url')
    requireThat(parameters.get('code_challenge') === challenge, 'the code verifier is wrong')
    requireThat(parameters.get('redirect_uri') === form.get('redirect_uri'), 'the redirect URI is another one')
    requireThat(parameters.get('dpop_jkt') === jkt, 'the code is bound to another key')
    const now = Math.floor(Date.now() / 1000)
    const claims: JWTPayload = {
      iss: issuer,
      sub: 'alice',
      aud: CLIENT_ID,
      nonce: parameters.get('nonce') ?? '',
      iat: now,
      exp: now + 300,
      auth_time: now,
      ...bend.idToken,
    }
    const idToken = await signIdToken(claims, bend.algorithm ?? 'ES256')
    return { ...tokensFor(jkt), expires_in: 300, id_token: idToken, ...bend.tokens }
  }

  const grant = async (form: URLSearchParams, request: IncomingMessage): Promise<object> => {
    const { jkt } = await checkProof(request, { htu: `${origin}/token`, nonce })
    if (form.get('grant_type') === 'authorization_code') return redeem(form, jkt)
    requireThat(form.get('grant_type') === 'refresh_token', 'the grant is another one')
    requireThat(refreshTokens.has(form.get('refresh_token') ?? ''), 'the refresh token is unknown')
    return { ...tokensFor(jkt), expires_in: 300 }
  }

  const answer =
    (status: number, handle: (form: URLSearchParams, request: IncomingMessage) => Promise<object> | object) =>
    (request: IncomingMessage, response: ServerResponse): void => {
      const respond = (code: number, body: object, headers: Record<string, string> = {}): void => {
        response.writeHead(code, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body))
      }
      void (async () => {
        const form = new URLSearchParams(await text(request))
        try {
          await authenticate(form, request)
          respond(status, await handle(form, request))
        } catch (error) {
          if (error instanceof NonceError) {
            withoutNonce += 1
            // A challenge beside the OAuth error: the client must read both.
            const headers = { 'dpop-nonce': renewNonce(), 'www-authenticate': 'Basic realm="tokens"' }
            respond(401, { error: 'use_dpop_nonce' }, headers)
          } else {
            problems.push(String(error))
            respond(400, { error: 'invalid_request' })
          }
        }
      })()
    }
  paths.set('/par', answer(201, push))
  paths.set('/token', answer(200, grant))
  let isFirst = true
  paths.set('/userinfo', (request, response) => {
    // The nonce expires once without notice. Later, each response has the next nonce.
    if (isFirst) renewNonce()
    isFirst = false
    checkProof(request, { htu: `${origin}/userinfo`, nonce }).then(
      ({ token, jkt }) => {
        if (bindings.get(token ?? '') !== jkt) problems.push('userinfo was asked with another key')
        response.writeHead(200, { 'content-type': 'application/json', 'dpop-nonce': renewNonce() })
        response.end(JSON.stringify({ sub: 'alice', department: 'ops' }))
      },
      (error: unknown) => {
        if (!(error instanceof NonceError)) problems.push(String(error))
        withoutNonce += 1
        response.writeHead(401, { 'www-authenticate': 'DPoP error="use_dpop_nonce"', 'dpop-nonce': nonce }).end()
      },
    )
  })

  return {
    document,
    issuer,
    origin,
    problems,
    bindings,
    withoutNonce: () => withoutNonce,
    client: {
      ...documentedProvider(),
      issuer,
      clientId: CLIENT_ID,
      clientSecret: null,
      privateKey: await exportPKCS8(ofClient.privateKey),
      keyId: KEY_ID,
      userinfo: true,
    },
    async login(gateway, bend = {}) {
      const browser = createBrowser()
      const { searchParams } = await beginLogin(browser, gateway, { redirect: '/api/accounts' })
      const parameters = pushed.get(searchParams.get('request_uri') ?? '')
      pushed.delete(searchParams.get('request_uri') ?? '')
      const names = [...searchParams.keys()].toSorted().join()
      if (parameters === undefined || names !== 'client_id,request_uri')
        throw new Error(`the authorization request has ${names}`)
      const code = randomBytes(16).toString('hex')
      codes.set(code, { parameters, bend })
      const callback = new URL(parameters.get('redirect_uri') ?? '')
      const response = { code, state: parameters.get('state') ?? '', iss: issuer, ...bend.callback }
      for (const [name, value] of Object.entries(response))
        if (value !== undefined) callback.searchParams.set(name, value)
      return { browser, answer: await browser.get(callback.href) }
    },
  }
}
