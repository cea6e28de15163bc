import { SignJWT, type JWTPayload } from 'jose'
import t from 'tap'
import { startIdp, type Idp } from '../../src/demo/idp.ts'
import { createBrowser } from '../support/browser.ts'
import { moveClock } from '../support/clock.ts'
import type { Answer } from '../support/exchange.ts'
import { isReadableFailure } from './failed-login.ts'
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

void t.test('a valid ID token logs in', async (t) => {
  const running = await startGateway(t)
  const { answer } = await loginWith(running, async (right) => running.idp.sign(right))
  t.equal(answer.headers.location, '/orders')
})

void t.test('a valid ID token without a kid logs in, also if several keys match', async (t) => {
  const running = await startGateway(t)
  const withoutKid: Forge = async (right) => running.idp.sign(right, { kid: undefined as unknown as string })
  t.equal((await loginWith(running, withoutKid)).answer.headers.location, '/orders')
  await running.idp.rotateSigningKeys()
  const { answer } = await loginWith(running, async (right) => running.idp.sign(right))
  t.equal(answer.headers.location, '/orders', 'the new key is fetched')
  t.equal((await loginWith(running, withoutKid)).answer.headers.location, '/orders')
})

void t.test('an ID token with a single fault does not log in', async (t) => {
  const running = await startGateway(t)
  const { idp, log } = running
  const stranger: Idp = await startIdp()
  t.teardown(() => stranger.close())
  const faults: [string, Forge][] = [
    ['aud', async (right) => idp.sign({ ...right, aud: 'somebody-else' })],
    ['no aud', async ({ aud: _aud, ...right }) => idp.sign(right)],
    ['no iat', async ({ iat: _iat, ...right }) => idp.sign(right)],
    ['no exp', async ({ exp: _exp, ...right }) => idp.sign(right)],
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
    [
      'signature with another algorithm',
      async (right) => (await idp.sign(right, { alg: 'ES256' })).replace(/[^.]+$/, reversed),
    ],
    [
      'an HMAC with the client secret',
      async (right) =>
        new SignJWT(right)
          .setProtectedHeader({ alg: 'HS256' })
          .sign(Buffer.from(running.config.provider.clientSecret ?? '')),
    ],
    ['signature', async (right) => (await idp.sign(right)).replace(/[^.]+$/, reversed)],
    [
      'claims after signing',
      async (right) => (await idp.sign(right)).replace(/\.[^.]+\./, `.${encoded({ ...right, sub: 'root' })}.`),
    ],
    ['no signature', (right) => `${encoded({ alg: 'none' })}.${encoded(right)}.`],
  ]
  for (const [name, forge] of faults) {
    const { answer, idToken } = await loginWith(running, forge)
    isReadableFailure(t, running, answer, 502, name)
    t.notOk(log.join('').includes(idToken))
  }
})

void t.test('rotated keys are fetched at the first unknown key', async (t) => {
  const { url, idp } = await startGateway(t)
  await createBrowser().login(`${url}/orders`, 'alice')
  t.equal(idp.requests.jwks, 1)
  await idp.rotateSigningKeys({ keepOld: false })
  t.equal((await createBrowser().login(`${url}/orders`, 'alice')).answer.url, `${url}/orders`)
  t.equal(idp.requests.jwks, 2)
})

void t.test('concurrent logins with an unknown key fetch once, and all succeed', async (t) => {
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

void t.test('an unknown key is looked up at most every ten seconds', async (t) => {
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

void t.test('an invalid sid is ignored, so that a logout with it does not end all sessions', async (t) => {
  const running = await startGateway(t)
  for (const sid of ['', 7, null, {}, 'x'.repeat(1001)]) {
    const { answer } = await loginWith(running, async (right) => running.idp.sign({ ...right, sid }))
    t.equal(answer.headers.location, '/orders', JSON.stringify(sid).slice(0, 20))
  }
})
