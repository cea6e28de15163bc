import type { IncomingMessage, ServerResponse } from 'node:http'
import { text } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import { startIdp } from '../../src/demo/idp.ts'
import { startUpstream } from '../../src/demo/upstream.ts'
import { createBrowser, type Browser } from '../support/browser.ts'
import type { Answer } from '../support/exchange.ts'
import { startGateway, type Running } from '../support/gateway.ts'
import { beginLogin } from '../support/sign-in.ts'
import { startScriptedProvider, type ScriptedProvider } from './scripted-provider.ts'

export type Settings = { readonly [key: string]: unknown }

type Call = {
  readonly path: string
  readonly query: URLSearchParams
  readonly headers: IncomingMessage['headers']
}

export type UserApi = {
  readonly provider: ScriptedProvider
  readonly gateway: Running
  readonly browser: Browser
  /** The requests to the API, in their order. */
  readonly calls: Call[]
  /** The forms that the token endpoint received. */
  readonly grants: URLSearchParams[]
  /** Answers a path of the API with JSON, by status and headers. */
  readonly answer: (path: string, body: unknown, status?: number, headers?: Record<string, string>) => void
  /** Answers token requests. */
  readonly answerTokens: (
    answer: (form: URLSearchParams) => Settings | { status: number; body: string; type: string },
  ) => void
  /** Logs in, and returns the response of the callback. */
  readonly login: (change?: Record<string, string>) => Promise<Answer>
  /** Sends a script's request to the application. */
  readonly call: (path?: string) => Promise<Answer>
}

// Starting these takes longer than most of the tests. `startGateway` needs the provider, although no test visits it.
const idp = await startIdp()
const upstream = await startUpstream()
t.teardown(async () => {
  await idp.close()
  await upstream.close()
})

export const tokens = (members: Settings = {}): Settings => ({
  access_token: 'gho_access',
  token_type: 'bearer',
  scope: 'read:org,user:email',
  ...members,
})

/** Starts a scripted provider without OpenID Connect, and a gateway in front of the sample application. */
export const startUserApi = async (
  t: Test,
  preset: string,
  config: Settings | ((origin: string) => Settings) = {},
): Promise<UserApi> => {
  const provider = await startScriptedProvider(t)
  const { provider: settings, ...rest } = typeof config === 'function' ? config(provider.origin) : config
  const gateway = await startGateway(t, {
    idp,
    upstream,
    config: {
      provider: { preset, issuer: provider.origin, ...(typeof settings === 'object' ? settings : {}) },
      ...rest,
    },
  })
  const browser = createBrowser()
  const calls: Call[] = []
  const grants: URLSearchParams[] = []

  const answer: UserApi['answer'] = (path, body, status = 200, headers = {}) => {
    provider.paths.set(path, (request, response) => {
      const { pathname, searchParams } = new URL(request.url ?? '/', provider.origin)
      calls.push({ path: pathname, query: searchParams, headers: request.headers })
      response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body))
    })
  }

  const answerTokens: UserApi['answerTokens'] = (answerTo) => {
    const respond = (request: IncomingMessage, response: ServerResponse): void => {
      void text(request).then((body) => {
        const form = new URLSearchParams(body)
        grants.push(form)
        const given = answerTo(form)
        const [status, type, content] =
          typeof given['body'] === 'string'
            ? [Number(given['status']), String(given['type']), given['body']]
            : [200, 'application/json', JSON.stringify(given)]
        response.writeHead(status, { 'content-type': type }).end(content)
      })
    }
    for (const path of ['/login/oauth/access_token', '/token']) provider.paths.set(path, respond)
  }
  answerTokens(() => tokens())

  return {
    provider,
    gateway,
    browser,
    calls,
    grants,
    answer,
    answerTokens,
    async login(change = {}) {
      const { searchParams } = await beginLogin(browser, gateway.url, { redirect: '/orders' })
      const callback = new URL(searchParams.get('redirect_uri') ?? '')
      callback.search = new URLSearchParams({
        code: 'a-code',
        state: searchParams.get('state') ?? '',
        ...change,
      }).toString()
      return browser.get(callback.href)
    },
    call: async (path = '/api/orders') => browser.get(`${gateway.url}${path}`, { kind: 'script' }),
  }
}
