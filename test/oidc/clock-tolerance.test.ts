import type { JWTPayload } from 'jose'
import t, { type Test } from 'tap'
import { startIdp } from '../../src/demo/idp.ts'
import { startUpstream } from '../../src/demo/upstream.ts'
import { startScriptedProvider, type ScriptedProvider } from './scripted-provider.ts'
import { createBrowser } from '../support/browser.ts'
import { startGateway, type Running } from '../support/gateway.ts'

/** Gateways with a scripted provider do not use this provider. */
const shared = { idp: await startIdp(), upstream: await startUpstream() }
t.teardown(async () => Promise.all([shared.idp.close(), shared.upstream.close()]))

const inSeconds = (seconds: number): number => Math.floor(Date.now() / 1000) + seconds

/** Sends a token to the gateway and returns whether the gateway accepts its times. */
type Send = (times: JWTPayload) => Promise<boolean>

interface Sends {
  readonly login: Send
  readonly refresh: Send
  readonly bearer: Send
  readonly logout: Send
  readonly userinfo: Send
}

const sendsTo = (provider: ScriptedProvider, { url, events }: Running): Sends => {
  const { issuer, paths, sign } = provider
  const aud = `client-${new URL(url).port}`
  return {
    login: async (times) => (await provider.login(url, times)).answer.status === 302,
    async refresh(times) {
      const { browser } = await provider.login(url, {}, { refresh_token: 'r1' })
      const idToken = await sign({ iss: issuer, sub: 'alice', aud, iat: inSeconds(0), exp: inSeconds(300), ...times })
      const tokens = { access_token: 'a2', token_type: 'Bearer', expires_in: 300, refresh_token: 'r2' }
      paths.set('/token', { ...tokens, id_token: idToken })
      const failures = events('claims_not_renewed').length
      await browser.post(`${url}/oauth2/session/refresh`, '', { kind: 'script' })
      return events('claims_not_renewed').length === failures
    },
    async bearer(times) {
      const claims = { iss: issuer, sub: 'alice', aud: 'api://orders', scp: 'x', jti: String(Math.random()) }
      const token = await sign({ ...claims, iat: inSeconds(0), exp: inSeconds(300), ...times })
      const headers = { authorization: `Bearer ${token}` }
      return (await createBrowser().get(`${url}/api/orders`, { kind: 'none', headers })).status === 200
    },
    async logout(times) {
      const claims = { iss: issuer, sub: 'carol', aud, jti: String(Math.random()) }
      const event = { events: { 'http://schemas.openid.net/event/backchannel-logout': {} } }
      const token = await sign({ ...claims, ...event, iat: inSeconds(0), ...times })
      const form = new URLSearchParams({ logout_token: token })
      return (await createBrowser().post(`${url}/oauth2/logout/backchannel`, form, { kind: 'none' })).status === 200
    },
    async userinfo(times) {
      const jwt = await sign({ sub: 'alice', ...times })
      paths.set('/userinfo', (_request, response) => {
        response.writeHead(200, { 'content-type': 'application/jwt' }).end(jwt)
      })
      const { answer } = await provider.login(url)
      paths.set('/userinfo', { sub: 'alice' })
      return answer.status === 302
    },
  }
}

const start = async (t: Test, keys: object) => {
  const provider = await startScriptedProvider(t)
  provider.paths.set('/userinfo', { sub: 'alice' })
  const running = await startGateway(t, {
    ...shared,
    config: {
      provider: { issuer: provider.issuer, userinfo: true, ...keys },
      routes: [{ path: '/**', bearer: { audience: 'api://orders' } }],
    },
  })
  return Object.entries(sendsTo(provider, running))
}

void t.test('clockTolerance applies to every token: exp, nbf and iat', async (t) => {
  for (const [name, send] of await start(t, { clockTolerance: '20s' })) {
    t.equal(await send({ iat: inSeconds(10), nbf: inSeconds(10) }), true, `${name}: slightly ahead`)
    t.equal(await send({ iat: inSeconds(40) }), false, `${name}: iat ahead`)
    t.equal(await send({ nbf: inSeconds(40) }), false, `${name}: nbf ahead`)
    t.equal(await send({ iat: inSeconds(-100), exp: inSeconds(-10) }), true, `${name}: just expired`)
    t.equal(await send({ iat: inSeconds(-100), exp: inSeconds(-40) }), false, `${name}: expired`)
  }
})

void t.test('the default is two minutes, and a longer tolerance also accepts older logout tokens', async (t) => {
  for (const [name, send] of await start(t, {})) {
    t.equal(await send({ iat: inSeconds(100), nbf: inSeconds(100) }), true, name)
    t.equal(await send({ nbf: inSeconds(140) }), false, name)
  }
  const lenient = Object.fromEntries(await start(t, { clockTolerance: '8m' }))
  for (const send of Object.values(lenient)) t.equal(await send({ iat: inSeconds(450), nbf: inSeconds(450) }), true)
  t.equal(await lenient['logout']?.({ iat: inSeconds(-640) }), true)
  t.equal(await lenient['logout']?.({ iat: inSeconds(-680) }), false)
})

void t.test('a tolerance of zero accepts a token of this second', async (t) => {
  for (const [name, send] of await start(t, { clockTolerance: '0s' })) {
    t.equal(await send({ iat: inSeconds(0) }), true, name)
    t.equal(await send({ iat: inSeconds(5) }), false, name)
  }
})
