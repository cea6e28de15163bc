import t, { type Test } from 'tap'
import { startIdp } from '../../../src/demo/idp.ts'
import { loggedIn, type LoggedIn } from '../../support/logged-in.ts'
import { startApplication, type Application } from '../../support/application.ts'
import { ask, header, type RawAnswer } from '../../support/raw-http.ts'

// One provider for all gateways here: what it does is not what these tests are about.
const idp = await startIdp()
t.teardown(() => idp.close())

type Own = LoggedIn & {
  readonly application: Application
  readonly send: (target: string, ...headers: string[]) => Promise<RawAnswer>
  /** Name, value, name, value … of the application's last request, without those of other headers. */
  readonly credentials: () => string[]
}

/** Starts a gateway with a session of alice, in front of an application that answers with the challenge in the query. */
const behindSession = async (t: Test, route: object): Promise<Own> => {
  const application = await startApplication(t, ({ url = '' }, res) => {
    const query = new URL(url, 'http://application').searchParams
    const challenge = query.get('challenge')
    res.writeHead(Number(query.get('status') ?? 200), challenge === null ? {} : { 'WWW-Authenticate': challenge }).end()
  })
  const running = await loggedIn(t, {
    idp,
    config: { upstream: application.url, routes: [{ path: '/**' }, { path: '/own/**', ...route }] },
  })
  const cookie = `Cookie: ${running.browser.cookies.header(new URL(running.url))}`
  return {
    ...running,
    application,
    send: async (target, ...headers) => ask(running.url, 'GET', target, [cookie, ...headers]),
    credentials: () => {
      const { rawHeaders = [] } = application.requests.at(-1) ?? {}
      const names = /^(?:authorization.?|dpop|x-token)$/i
      return rawHeaders.filter((_, i) => names.test(rawHeaders[i - (i % 2)] ?? ''))
    },
  }
}

const own = { authorization: 'client', token: { grant: 'none' } }

void t.test('with authorization: client, the client’s own credentials pass beside the session', async (t) => {
  const { send, credentials, url } = await behindSession(t, own)
  const sent = ['Authorization', 'Bearer own', 'authorization', 'Basic YTpi', 'DPoP', 'proof']
  const lines = ['Authorization: Bearer own', 'authorization: Basic YTpi', 'DPoP: proof']
  t.equal((await send('/own/x', ...lines)).status, 200)
  t.same(credentials(), sent)
  await send('/own/x')
  t.same(credentials(), [], 'no token of the session')
  await send('/other', ...lines)
  t.match(credentials(), ['Authorization', /^Bearer (?!own)/], 'another route sends the token of the session')
  t.equal((await ask(url, 'GET', '/own/x', lines)).status, 401, 'the route requires a session all the same')
})

void t.test('the session’s token goes in another header', async (t) => {
  const { send, credentials } = await behindSession(t, { authorization: 'client', token: { header: 'X-Token' } })
  await send('/own/x', 'Authorization: Bearer own', 'X-Token: forged')
  const [name, value, tokenName, token, ...more] = credentials()
  t.same([name, value, tokenName, more], ['Authorization', 'Bearer own', 'X-Token', []])
  t.match(token, /^(?!forged).{20,}/)
})

const CHALLENGES = [
  [401, 'Bearer error="invalid_token"'],
  [403, 'Bearer error="insufficient_scope", scope="more"'],
  [401, 'Bearer error="insufficient_user_authentication", max_age="0"'],
  [401, 'DPoP error="use_dpop_nonce"'],
  [401, 'Basic realm="shop"'],
] as const

void t.test('an answer about the client’s own token passes unchanged', async (t) => {
  for (const route of [own, { authorization: 'client', token: { header: 'X-Token' } }]) {
    const { send, application } = await behindSession(t, route)
    const before = idp.grants['refresh_token'] ?? 0
    for (const [status, challenge] of CHALLENGES) {
      const target = `/own/x?status=${status}&challenge=${encodeURIComponent(challenge)}`
      const answer = await send(target, 'Authorization: Bearer own')
      t.equal(answer.status, status, challenge)
      t.equal(header(answer, 'www-authenticate'), challenge)
      t.notOk(answer.headers.has('gatehouse'))
    }
    t.equal(
      application.requests.filter(({ url }) => url?.startsWith('/own')).length,
      CHALLENGES.length,
      'no repetition',
    )
    t.equal(idp.grants['refresh_token'] ?? 0, before)
  }
})

void t.test('an answer about the session’s token in another header is acted on', async (t) => {
  const { send } = await behindSession(t, { authorization: 'client', token: { header: 'X-Token' } })
  const [, challenge] = CHALLENGES[1]
  const answer = await send(`/own/x?status=403&challenge=${encodeURIComponent(challenge)}`)
  t.equal(header(answer, 'gatehouse'), 'step_up_required')
})
