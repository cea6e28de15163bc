import type { JWTPayload } from 'jose'
import t from 'tap'
import { startIdp, type Idp } from '../../src/demo/idp.ts'
import { createBrowser } from '../support/browser.ts'
import { moveClock } from '../support/clock.ts'
import type { Answer } from '../support/exchange.ts'
import { failsReadably } from '../support/fails-readably.ts'
import { startGateway, type Running } from '../support/gateway.ts'
import { beginLogin, signIn } from '../support/sign-in.ts'

type Forge = (right: JWTPayload) => string | Promise<string>

const ago = (seconds: number): number => Math.floor(Date.now() / 1000) - seconds

/** A login whose token response has the ID token that `forge` makes of the right claims. */
const loginWith = async ({ url, idp }: Running, forge: Forge): Promise<{ answer: Answer; idToken: string }> => {
  const browser = createBrowser()
  const authorization = await beginLogin(browser, url, { redirect: '/orders' })
  const { searchParams } = authorization
  const callback = await signIn(browser, authorization)
  const asked = { aud: searchParams.get('client_id') ?? '', nonce: searchParams.get('nonce') ?? '' }
  const idToken = await forge({
    iss: idp.issuer,
    sub: 'alice',
    ...asked,
    iat: ago(0),
    exp: ago(-300),
    auth_time: ago(0),
  })
  idp.settings.reshapeTokenResponse = (body) => ({ ...body, id_token: idToken })
  const answer = await browser.get(callback.href)
  idp.settings.reshapeTokenResponse = null
  return { answer, idToken }
}

const encoded = (claims: object): string => Buffer.from(JSON.stringify(claims)).toString('base64url')

const reversed = (text: string): string => text.split('').toReversed().join('')

void t.test('an ID token that is right in all points logs in', async (t) => {
  const running = await startGateway(t)
  const { answer } = await loginWith(running, async (right) => running.idp.sign(right))
  t.equal(answer.headers.location, '/orders')
})

void t.test('one that is wrong in a single point does not', async (t) => {
  const running = await startGateway(t)
  const { idp, log } = running
  const stranger: Idp = await startIdp()
  t.teardown(() => stranger.close())
  const faults: [string, Forge][] = [
    ['aud', async (right) => idp.sign({ ...right, aud: 'somebody-else' })],
    ['nonce', async (right) => idp.sign({ ...right, nonce: 'another' })],
    ['no nonce', async ({ nonce: _nonce, ...right }) => idp.sign(right)],
    ['expired', async (right) => idp.sign({ ...right, iat: ago(900), exp: ago(600) })],
    ['iss', async (right) => idp.sign({ ...right, iss: 'https://evil.example' })],
    ['no sub', async ({ sub: _sub, ...right }) => idp.sign(right)],
    ['an empty sub', async (right) => idp.sign({ ...right, sub: '' })],
    ['a sub of absurd length', async (right) => idp.sign({ ...right, sub: 'x'.repeat(1001) })],
    ['a sub that is a number', async (right) => idp.sign({ ...right, sub: 7 as unknown as string })],
    ['not valid yet', async (right) => idp.sign({ ...right, nbf: ago(-600) })],
    ['another key', async (right) => stranger.sign(right)],
    ['signature', async (right) => (await idp.sign(right)).replace(/[^.]+$/, reversed)],
    [
      'claims after signing',
      async (right) => (await idp.sign(right)).replace(/\.[^.]+\./, `.${encoded({ ...right, sub: 'root' })}.`),
    ],
    ['no signature', (right) => `${encoded({ alg: 'none' })}.${encoded(right)}.`],
  ]
  for (const [name, forge] of faults) {
    const { answer, idToken } = await loginWith(running, forge)
    failsReadably(t, running, answer, 502, name)
    t.notOk(log.join('').includes(idToken))
  }
})

void t.test('keys that the provider rotates are fetched when the first unknown one is met', async (t) => {
  const { url, idp } = await startGateway(t)
  await createBrowser().login(`${url}/orders`, 'alice')
  t.equal(idp.requests.jwks, 1)
  await idp.rotateSigningKeys({ keepOld: false })
  t.equal((await createBrowser().login(`${url}/orders`, 'alice')).answer.url, `${url}/orders`)
  t.equal(idp.requests.jwks, 2)
})

void t.test('logins that meet an unknown key together fetch once, and all succeed', async (t) => {
  const { url, idp } = await startGateway(t)
  await createBrowser().login(`${url}/orders`, 'alice')
  await idp.rotateSigningKeys({ keepOld: false })
  idp.fail('jwks', { delay: 200 })
  const ends = await Promise.all(
    Array.from({ length: 8 }, async () => (await createBrowser().login(`${url}/orders`, 'alice')).answer),
  )
  t.same(
    ends.map((answer) => `${answer.url} ${String(answer.headers.gatehouse)}`),
    ends.map(() => `${url}/orders undefined`),
  )
  t.equal(idp.requests.jwks, 2)
})

void t.test('a key that nobody knows is looked for once in ten seconds', async (t) => {
  const running = await startGateway(t)
  const { idp, url } = running
  await createBrowser().login(`${url}/orders`, 'alice')
  const forge: Forge = async (right) => idp.sign(right, { kid: 'nobody-knows' })
  const unknown = async (): Promise<number> => (await loginWith(running, forge)).answer.status
  t.same([await unknown(), await unknown(), await unknown()], [502, 502, 502])
  t.equal(idp.requests.jwks, 2)
  moveClock(t, 10_100)
  t.same([await unknown(), await unknown()], [502, 502])
  t.equal(idp.requests.jwks, 3)
})

void t.test('a sid that can be no session’s name is none: no logout by it ends everybody’s', async (t) => {
  const running = await startGateway(t)
  for (const sid of ['', 7, null, {}, 'x'.repeat(1001)]) {
    const { answer } = await loginWith(running, async (right) => running.idp.sign({ ...right, sid }))
    t.equal(answer.headers.location, '/orders', JSON.stringify(sid).slice(0, 20))
  }
})
