import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { CompactEncrypt, decodeProtectedHeader, exportJWK } from 'jose'
import t from 'tap'
import { createTokenDecryption } from '../../src/oidc/encrypted-tokens.ts'
import { createBrowser } from '../support/browser.ts'
import { moveClock } from '../support/clock.ts'
import { loggedIn } from '../support/logged-in.ts'
import { startGateway } from '../support/gateway.ts'

const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 })
const otherRsa = generateKeyPairSync('rsa', { modulusLength: 2048 })
const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const script = { kind: 'script' } as const

const pem = (key: KeyObject): string => key.export({ type: 'pkcs8', format: 'pem' }).toString()

interface Encryption {
  readonly alg: string
  readonly publicKey: KeyObject
  readonly metadata?: object
}

/** The registration of a client whose ID tokens are encrypted with this key. */
const encrypted = async ({ alg, publicKey, metadata }: Encryption) => ({
  clientAuthentication: 'client_secret_post',
  jwks: { keys: [{ ...(await exportJWK(publicKey)), use: 'enc', kid: 'enc-1', alg }] },
  metadata: { id_token_encrypted_response_alg: alg, id_token_encrypted_response_enc: 'A128CBC-HS256', ...metadata },
})

void t.test('an encrypted ID token is decrypted at the login and at a refresh', async (t) => {
  for (const [alg, { publicKey, privateKey }] of [
    ['RSA-OAEP-256', rsa],
    ['RSA-OAEP', rsa],
    ['ECDH-ES', ec],
  ] as const) {
    const { browser, url, idp, call, status, events } = await loggedIn(t, {
      config: { provider: { idTokenKeys: [pem(otherRsa.privateKey), pem(privateKey)] } },
      client: await encrypted({ alg, publicKey }),
      idp: { lifetimes: { accessToken: 100 }, users: [{ sub: 'alice', name: 'Al', email: 'a@b.example', groups: [] }] },
    })
    const sent = idp.secretsIssued.filter((one) => one.split('.').length === 5)
    t.match(sent.map((one) => decodeProtectedHeader(one)).at(-1), { alg, kid: 'enc-1' })
    t.match((await browser.get(`${url}/oauth2/userinfo`, script)).json(), { sub: 'alice', name: 'Al' })

    idp.users.set('alice', { sub: 'alice', name: 'Alice', email: 'a@b.example', groups: [] })
    moveClock(t, 101_000)
    t.equal((await call()).status, 200)
    t.same(events('claims_not_renewed'), [])
    t.match((await browser.get(`${url}/oauth2/userinfo`, script)).json(), { name: 'Alice' }, alg)
    t.ok((await status()).session)
  }
})

void t.test('the hint of a logout is the signed token inside', async (t) => {
  const { browser, url } = await loggedIn(t, {
    config: { provider: { idTokenKeys: [pem(rsa.privateKey)] } },
    client: await encrypted({ alg: 'RSA-OAEP-256', publicKey: rsa.publicKey }),
  })
  const answer = await browser.get(`${url}/oauth2/logout`)
  const hint = new URL(answer.headers.location ?? '').searchParams.get('id_token_hint') ?? ''
  t.equal(hint.split('.').length, 3)
  t.match(decodeProtectedHeader(hint), { alg: 'RS256' })
  t.match((await browser.follow(answer)).answer.url, url, 'the provider accepts the hint')
})

void t.test('encrypted userinfo is decrypted, and its signature verified', async (t) => {
  const { browser, url, idp } = await loggedIn(t, {
    config: { provider: { userinfo: true, idTokenKeys: [pem(rsa.privateKey)] } },
    client: await encrypted({
      alg: 'RSA-OAEP-256',
      publicKey: rsa.publicKey,
      metadata: {
        userinfo_signed_response_alg: 'RS256',
        userinfo_encrypted_response_alg: 'RSA-OAEP-256',
        userinfo_encrypted_response_enc: 'A128GCM',
      },
    }),
    idp: {
      users: [{ sub: 'alice', name: 'Alice', email: 'a@b.example', groups: [], claims: { department: 'sales' } }],
    },
  })
  t.equal(idp.requests.userinfo, 1)
  t.match((await browser.get(`${url}/oauth2/userinfo`, script)).json(), { department: 'sales' })
})

void t.test('an encrypted logout token ends the session', async (t) => {
  const { browser, url, idp, config } = await loggedIn(t, {
    config: { provider: { idTokenKeys: [pem(rsa.privateKey)] } },
    client: await encrypted({ alg: 'RSA-OAEP-256', publicKey: rsa.publicKey }),
  })
  const now = Math.floor(Date.now() / 1000)
  const signed = await idp.sign({
    iss: idp.issuer,
    aud: config.provider.clientId,
    sub: 'alice',
    jti: 'logout-1',
    iat: now,
    exp: now + 120,
    events: { 'http://schemas.openid.net/event/backchannel-logout': {} },
  })
  const logout = async (token: string) =>
    createBrowser().post(`${url}/oauth2/logout/backchannel`, new URLSearchParams({ logout_token: token }))
  t.equal((await logout(await encrypt(signed, otherRsa.publicKey))).status, 400, 'for another key')
  t.equal((await browser.get(`${url}/oauth2/session`, script)).status, 200)
  t.equal((await logout(await encrypt(signed, rsa.publicKey))).status, 200)
  t.equal((await browser.get(`${url}/oauth2/session`, script)).status, 401)
})

void t.test('without the key, the login fails and the log names provider.idTokenKeys', async (t) => {
  const client = await encrypted({ alg: 'RSA-OAEP-256', publicKey: rsa.publicKey })
  for (const [idTokenKeys, cause] of [
    [[], /the token is encrypted \(RSA-OAEP-256\): set provider\.idTokenKeys/],
    [[pem(otherRsa.privateKey)], /no key of provider\.idTokenKeys decrypts the token \(RSA-OAEP-256, kid enc-1\)/],
    [[pem(ec.privateKey)], /no key of provider\.idTokenKeys decrypts the token/],
  ] as const) {
    const { url, events } = await startGateway(t, { config: { provider: { idTokenKeys } }, client })
    const { answer } = await createBrowser().login(`${url}/orders`, 'alice')
    t.equal(answer.status, 502)
    t.match(String(events('login_failed')[0]?.['cause']), cause)
  }
})

void t.test('a refresh with an ID token that cannot be decrypted keeps the new tokens', async (t) => {
  const { idp, call, events } = await loggedIn(t)
  idp.settings.reshapeTokenResponse = (body) => ({ ...body, id_token: 'e30.e30.e30.e30.e30' })
  moveClock(t, 101_000)
  t.equal((await call()).status, 200)
  t.match(events('claims_not_renewed')[0], { cause: /set provider\.idTokenKeys/ })
  idp.settings.reshapeTokenResponse = null
  moveClock(t, 101_000)
  t.equal((await call()).status, 200, 'the rotated refresh token was kept')
})

void t.test('an encrypted token must contain a signed JWT', async (t) => {
  const decrypt = createTokenDecryption([pem(rsa.privateKey)])
  t.equal(await decrypt('not.encrypted.token'), 'not.encrypted.token')
  t.equal(await decrypt(await encrypt('a.signed.jwt', rsa.publicKey)), 'a.signed.jwt')
  for (const inner of ['{"sub":"alice"}', 'unsigned.jwt.', await encrypt('a.signed.jwt', rsa.publicKey), ''])
    await t.rejects(decrypt(await encrypt(inner, rsa.publicKey)), { message: /no signed JWT/ }, inner.slice(0, 20))
})

void t.test('the kid selects the key, and a key without that kid is tried as well', async (t) => {
  const named = JSON.stringify({ ...(await exportJWK(rsa.privateKey)), kid: 'enc-1', alg: 'RSA-OAEP-256' })
  const decrypt = createTokenDecryption([pem(otherRsa.privateKey), named])
  for (const kid of ['enc-1', 'unknown', undefined])
    t.equal(await decrypt(await encrypt('a.signed.jwt', rsa.publicKey, kid)), 'a.signed.jwt', String(kid))
  await t.rejects(decrypt(await encrypt('a.signed.jwt', otherRsa.publicKey, 'enc-1')), { message: /no key of/ })
})

async function encrypt(text: string, publicKey: KeyObject, kid?: string): Promise<string> {
  return new CompactEncrypt(new TextEncoder().encode(text))
    .setProtectedHeader({ alg: 'RSA-OAEP-256', enc: 'A128GCM', ...(kid === undefined ? {} : { kid }) })
    .encrypt(publicKey)
}
