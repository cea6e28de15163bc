import { generateKeyPairSync } from 'node:crypto'
import { calculateJwkThumbprint, createLocalJWKSet, decodeJwt, decodeProtectedHeader, jwtVerify } from 'jose'
import t from 'tap'
import { newAssertionKey } from '../../src/config/private-key.ts'
import type { Config } from '../../src/config/schema.ts'
import { createAssertions, type Assertions } from '../../src/gate/assertion.ts'
import type { Who } from '../../src/gate/verdict.ts'
import { now, origin, sessionOf } from './request.ts'

type Settings = NonNullable<Config['assertion']>

const key = newAssertionKey()
const settingsOf = (settings: Partial<Settings> = {}): Settings => ({
  keys: [key],
  audience: null,
  lifetime: 60_000,
  claims: [],
  ...settings,
})
const first = { index: 0 }

const verified = async (assertions: Assertions, jwt: string, at = now, audience = origin) =>
  jwtVerify(jwt, createLocalJWKSet({ keys: assertions.publicKeys.map((one) => ({ ...one })) }), {
    issuer: origin,
    audience,
    typ: 'JWT',
    currentDate: new Date(at),
  })

void t.test('an assertion says who sent a request, and nothing that was not asked for', async (t) => {
  const assertions = createAssertions(settingsOf({ claims: ['name', 'groups', 'address.city', 'missing'] }))
  const who = sessionOf({
    claims: { sub: 'alice', name: 'Zoë', groups: ['staff', 'a,b'], address: { city: 'Köln' }, secret: 'x', sid: 'idp' },
  })
  const { payload, protectedHeader } = await verified(assertions, assertions.make(origin, first, who, now))
  t.same(payload, {
    'iss': origin,
    'aud': origin,
    'sub': 'alice',
    'sid': who.id,
    'iat': now / 1000,
    'exp': now / 1000 + 60,
    'name': 'Zoë',
    'groups': ['staff', 'a,b'],
    'address.city': 'Köln',
  })
  t.same(protectedHeader, { alg: 'ES256', typ: 'JWT', kid: assertions.publicKeys[0]?.kid })
})

void t.test('the audience can be configured, and a provider among several is named', async (t) => {
  const assertions = createAssertions(settingsOf({ audience: 'orders' }))
  const jwt = assertions.make(origin, first, sessionOf({ provider: 'staff' }), now)
  t.match((await verified(assertions, jwt, now, 'orders')).payload, { aud: 'orders', provider: 'staff' })
})

void t.test('a client with a token of its own has no sid', (t) => {
  const client: Who = { claims: { sub: 'robot', sid: 'idp' }, bearer: true }
  const claims = decodeJwt(createAssertions(settingsOf()).make(origin, first, client, now))
  t.equal(claims.sub, 'robot')
  t.notOk('sid' in claims)
  t.end()
})

void t.test('the first key signs, and all public keys are listed under their kid', async (t) => {
  const ed25519 = generateKeyPairSync('ed25519').privateKey
  const p256 = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
  const keys = [
    ed25519.export({ type: 'pkcs8', format: 'pem' }).toString(),
    JSON.stringify({ ...p256.export({ format: 'jwk' }), kid: 'orders-2026', use: 'sig', key_ops: ['sign'] }),
    key,
  ]
  const assertions = createAssertions(settingsOf({ keys }))
  const listed = assertions.publicKeys
  t.same(
    listed.map(({ alg, use, kty }) => ({ alg, use, kty })),
    [
      { alg: 'EdDSA', use: 'sig', kty: 'OKP' },
      { alg: 'ES256', use: 'sig', kty: 'EC' },
      { alg: 'ES256', use: 'sig', kty: 'EC' },
    ],
  )
  for (const one of listed.filter(({ kid }) => kid !== 'orders-2026'))
    t.equal(one.kid, await calculateJwkThumbprint({ ...one }))
  t.equal(listed[1]?.kid, 'orders-2026')
  t.notMatch(JSON.stringify(listed), /"(?:d|key_ops)"/, 'no private member')
  const jwt = assertions.make(origin, first, sessionOf(), now)
  t.match(decodeProtectedHeader(jwt), { alg: 'EdDSA', kid: listed[0]?.kid })
  await verified(assertions, jwt)
  const rotated = createAssertions(settingsOf({ keys: keys.slice(1) }))
  t.match(decodeProtectedHeader(rotated.make(origin, first, sessionOf(), now)), { kid: 'orders-2026' })
})

void t.test('a session costs one signature for each route and half of the lifetime', (t) => {
  const assertions = createAssertions(settingsOf({ claims: ['groups'] }))
  // Each signature with ES256 has a random part, so the number of different JWTs is the number of signatures.
  const jwts = new Set<string>()
  const session = sessionOf()
  for (let ms = 0; ms < 30_000; ms += 100) jwts.add(assertions.make(origin, first, session, now + ms))
  t.equal(jwts.size, 1)
  // A refresh replaces the session and its claims object.
  const refreshed = sessionOf({ claims: { ...session.claims, iat: 5 } })
  jwts.add(assertions.make(origin, first, refreshed, now + 29_999))
  t.equal(jwts.size, 1, 'a refresh without changes in these claims needs no signature')
  for (let ms = 30_000; ms < 60_000; ms += 100) jwts.add(assertions.make(origin, first, refreshed, now + ms))
  t.equal(jwts.size, 2)
  jwts.add(assertions.make(origin, { index: 1 }, refreshed, now + 59_000))
  t.equal(jwts.size, 3, 'another route')
  jwts.add(assertions.make('https://other.example.com', first, refreshed, now + 59_000))
  t.equal(jwts.size, 4, 'another public URL')
  jwts.add(assertions.make(origin, first, sessionOf({ id: 'B'.repeat(22) }), now + 59_000))
  t.equal(jwts.size, 5, 'another session')
  t.end()
})

void t.test('a token of a client costs one signature too, however often it is verified', (t) => {
  const assertions = createAssertions(settingsOf())
  const clientWith = (sub: string): Who => ({ claims: { sub }, bearer: true, digest: 'digest' })
  const one = assertions.make(origin, first, clientWith('robot'), now)
  t.equal(assertions.make(origin, first, clientWith('robot'), now + 1), one)
  t.not(assertions.make(origin, first, clientWith('other'), now + 2), one)
  t.end()
})

void t.test('an assertion is replaced when its claims change or the clock is set back', (t) => {
  const assertions = createAssertions(settingsOf({ claims: ['groups'] }))
  const before = assertions.make(origin, first, sessionOf(), now)
  const changed = sessionOf({ claims: { sub: 'alice', groups: ['staff'] } })
  const after = assertions.make(origin, first, changed, now + 1_000)
  t.same(decodeJwt(before)['groups'], ['staff', 'admin'])
  t.same(decodeJwt(after)['groups'], ['staff'])
  t.equal(assertions.make(origin, first, changed, now + 2_000), after)
  t.equal(decodeJwt(assertions.make(origin, first, changed, now - 5_000)).iat, now / 1000 - 5)
  t.end()
})

void t.test('large assertions of many users do not fill the memory', (t) => {
  const ed25519 = generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
  const assertions = createAssertions(settingsOf({ keys: [ed25519], claims: ['groups'] }))
  const userAt = (i: number): Who => ({ id: `user-${i}`, claims: { sub: 'alice', groups: ['x'.repeat(200_000)], i } })
  const firstUser = userAt(0)
  const jwt = assertions.make(origin, first, firstUser, now)
  t.equal(assertions.make(origin, first, firstUser, now + 2_000), jwt, 'kept')
  for (let i = 1; i < 90; i += 1) assertions.make(origin, first, userAt(i), now)
  t.not(assertions.make(origin, first, firstUser, now + 2_000), jwt, 'the least recently used are forgotten')
  t.end()
})

void t.test('a client that names many hosts, and many clients, do not fill the memory', (t) => {
  const assertions = createAssertions(settingsOf())
  const session = sessionOf()
  const one = assertions.make('https://a0.example.com', first, session, now)
  for (let i = 0; i < 150; i++) assertions.make(`https://a${i}.example.com`, first, session, now)
  t.not(assertions.make('https://a0.example.com', first, session, now), one, 'the oldest are forgotten')
  t.end()
})
