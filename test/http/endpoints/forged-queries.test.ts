import t from 'tap'
import { startIdp } from '../../../src/demo/idp.ts'
import { createBrowser, type Browser } from '../../support/browser.ts'
import { startGateway } from '../../support/gateway.ts'
import { callbackFor } from '../../support/sign-in.ts'

const SEED = 20261121
const ROUNDS = 400

/** Numbers from 0 to 1, the same in each run (mulberry32). */
const numbers = (seed: number): (() => number) => {
  let at = seed
  return () => {
    at = (at + 0x6d2b79f5) | 0
    let n = Math.imul(at ^ (at >>> 15), at | 1)
    n ^= n + Math.imul(n ^ (n >>> 7), n | 61)
    return ((n ^ (n >>> 14)) >>> 0) / 4294967296
  }
}

const next = numbers(SEED)
const pick = <T>(all: readonly [T, ...T[]]): T => all[Math.floor(next() * all.length)] ?? all[0]

const NAMES = [
  'code',
  'state',
  'iss',
  'error',
  'error_description',
  'error_uri',
  'id_token',
  'response',
  'token',
  'redirect',
  'rd',
  'target_link_uri',
  'prompt',
  'login_hint',
  'acr_values',
  'max_age',
  'scope',
  'claims',
  'tries',
  'refused',
  'fragment',
  'sid',
  'user',
  'keep',
  'outcome',
  'logout_token',
  'id',
  'x',
  '',
] as const

const VALUES = [
  '',
  'x',
  '%00',
  '%0d%0aSet-Cookie:%20a=b',
  '%C3%28',
  '%ED%A0%80',
  '%',
  '%zz',
  '+',
  'null',
  '-1',
  '1e309',
  '99999999999999999999',
  '[]',
  '%7B%22a%22%3A%7B%7D%7D',
  '%3Csvg%20onload%3Dalert(1)%3E',
  '/',
  '//evil.example',
  'https://evil.example/',
  'https%3A%2F%2F%5B',
  'none',
  'none%20login',
  'bogus',
  'login',
  'server_error',
  'temporarily_unavailable',
  'login_required',
  'access_denied',
  'invalid_request',
  'authentication_expired',
  'openid',
  'eyJhbGciOiJub25lIn0.e30.',
  'eyJhbGciOiJSUzI1NiIsImtpZCI6MX0.eyJpYXQiOiJ4In0.AA',
  '\u00e9',
  'ok',
  'a'.repeat(3_000),
  '__proto__',
] as const

type Known = Readonly<Record<'state' | 'code' | 'iss', string>>

/** A query of a few members, some of them right. */
const forgedQuery = (known: Known): string =>
  Array.from({ length: Math.floor(next() * 6) }, () => {
    const name = pick(NAMES)
    const right = name === 'state' || name === 'code' || name === 'iss' ? known[name] : null
    const value = right !== null && next() < 0.7 ? encodeURIComponent(right) : pick(VALUES)
    return next() < 0.05 ? name : `${name}=${value}`
  }).join('&')

const ADDRESSES = [
  ['GET', 'callback'],
  ['GET', 'callback'],
  ['POST', 'callback'],
  ['POST', 'callback'],
  ['GET', 'login'],
  ['GET', 'start'],
  ['GET', 'logout'],
  ['POST', 'logout'],
  ['GET', 'logout/callback'],
  ['GET', 'logout/form'],
  ['POST', 'logout/local'],
  ['GET', 'logout/frontchannel'],
  ['POST', 'logout/backchannel'],
  ['GET', 'silent'],
  ['GET', 'session'],
  ['POST', 'session/refresh'],
  ['GET', 'userinfo'],
  ['GET', 'jwks'],
  ['GET', 'form'],
] as const

for (const pushedAuthorization of [false, true]) {
  void t.test(`no forged query or form gets a 5xx${pushedAuthorization ? ', with pushed requests' : ''}`, async (t) => {
    const idp = await startIdp({ pushedAuthorization })
    t.teardown(() => idp.close())
    const rateLimit = { login: 'off', callback: 'off', session: 'off', requests: 'off' }
    const { url, log } = await startGateway(t, { idp, config: { rateLimit } })
    const visitors: [Browser, Browser] = [createBrowser(), createBrowser()]
    let known: Known = { state: '', code: '', iss: idp.issuer }
    const bad: string[] = []
    for (let round = 0; round < ROUNDS; round += 1) {
      if (round % 20 === 0) {
        await visitors[0].login(`${url}/`, 'alice')
        const { searchParams } = await callbackFor(visitors[0], url)
        known = { ...known, state: searchParams.get('state') ?? '', code: searchParams.get('code') ?? '' }
      }
      const [method, path] = pick(ADDRESSES)
      const query = forgedQuery(known)
      const asForm = method === 'POST' && next() < 0.7
      // A server_error of the provider's may be a 502: the state is right and this browser's.
      if (query.includes('error=server_error')) continue
      const answer = await pick(visitors).request(method, `${url}/oauth2/${path}${asForm ? '' : `?${query}`}`, {
        kind: pick(['navigate', 'script', 'frame', 'none']),
        ...(asForm ? { body: query, headers: { 'content-type': 'application/x-www-form-urlencoded' } } : {}),
      })
      if (answer.status >= 500) bad.push(`${method} ${path} ${query.slice(0, 300)}: ${answer.status}`)
      if (answer.headers['x-content-type-options'] !== 'nosniff') bad.push(`${method} ${path}: it may be sniffed`)
    }
    t.same(bad, [])
    t.notMatch(log.join(''), '"event":"internal_error"')
  })
}
