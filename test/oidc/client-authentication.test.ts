import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { exportJWK } from 'jose'
import t, { type Test } from 'tap'
import type { ClientAuthentication } from '../../src/demo/idp/clients.ts'
import { createBrowser } from '../support/browser.ts'
import { startGateway } from '../support/gateway.ts'

const all: ClientAuthentication[] = ['client_secret_basic', 'client_secret_post', 'private_key_jwt', 'none']

interface Case {
  provider?: object
  client: object
  announced?: ClientAuthentication[]
}

/** The provider accepts the one way that the client is registered with; a login and a refresh have to get through. */
const logsIn = async (t: Test, { provider = {}, client, announced = all }: Case): Promise<void> => {
  const { url, idp } = await startGateway(t, {
    config: { provider },
    client,
    idp: { clientAuthentications: announced },
  })
  const browser = createBrowser()
  const { answer } = await browser.login(`${url}/orders`, 'alice')
  t.equal(answer.url, `${url}/orders`)
  const refreshed = await browser.post(`${url}/oauth2/session/refresh`, '', { kind: 'script' })
  t.equal(refreshed.status, 200)
  t.same(idp.grants, { authorization_code: 1, refresh_token: 1 })
}

const pem = (key: KeyObject): string => key.export({ type: 'pkcs8', format: 'pem' }).toString()

void t.test('client_secret_basic', async (t) =>
  logsIn(t, {
    provider: { clientAuthentication: 'client_secret_basic' },
    client: { clientAuthentication: 'client_secret_basic' },
  }),
)

void t.test('client_secret_basic with a secret that has to be escaped (RFC 6749, section 2.3.1)', async (t) => {
  const clientSecret = 'a:b%c&d=e/+?~'
  await logsIn(t, {
    provider: { clientAuthentication: 'client_secret_basic', clientSecret },
    client: { clientAuthentication: 'client_secret_basic', clientSecret },
  })
})

void t.test('client_secret_post', async (t) =>
  logsIn(t, {
    provider: { clientAuthentication: 'client_secret_post' },
    client: { clientAuthentication: 'client_secret_post' },
  }),
)

void t.test('none, for a public client', async (t) =>
  logsIn(t, {
    provider: { clientAuthentication: 'none', clientSecret: null },
    client: { clientAuthentication: 'none', clientSecret: undefined },
  }),
)

void t.test('auto is client_secret_post where the provider announces it', async (t) =>
  logsIn(t, {
    client: { clientAuthentication: 'client_secret_post' },
  }),
)

void t.test('auto is client_secret_basic where it does not', async (t) =>
  logsIn(t, {
    client: { clientAuthentication: 'client_secret_basic' },
    announced: ['client_secret_basic', 'none'],
  }),
)

for (const [name, pair] of [
  ['RSA', generateKeyPairSync('rsa', { modulusLength: 2048 })],
  ['P-256', generateKeyPairSync('ec', { namedCurve: 'P-256' })],
] as const) {
  void t.test(`auto is private_key_jwt with a key, here ${name}`, async (t) => {
    const jwk = await exportJWK(pair.publicKey)
    await logsIn(t, {
      provider: { privateKey: pem(pair.privateKey), clientSecret: null },
      client: { clientSecret: undefined, jwks: { keys: [{ ...jwk, use: 'sig' }] } },
    })
  })
}

void t.test(
  'a key that the provider does not know ends in a page that blames the provider’s side, and no session',
  async (t) => {
    const known = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const other = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const { url, events } = await startGateway(t, {
      config: { provider: { privateKey: pem(other.privateKey), clientSecret: null } },
      client: { clientSecret: undefined, jwks: { keys: [{ ...(await exportJWK(known.publicKey)), use: 'sig' }] } },
    })
    const browser = createBrowser()
    const { answer } = await browser.login(`${url}/orders`, 'alice')
    t.equal(answer.status, 502)
    t.equal(answer.headers.gatehouse, 'login_failed')
    t.notOk(browser.cookies.get(url, 'gatehouse'))
    t.match(String(events('login_failed')[0]?.['cause']), /invalid_client/)
  },
)

void t.test('a wrong secret is the operator’s mistake: 502, the cause in the log, not the secret', async (t) => {
  const { url, log, events } = await startGateway(t, { config: { provider: { clientSecret: 'a-wrong-secret' } } })
  const { answer } = await createBrowser().login(`${url}/orders`, 'alice')
  t.equal(answer.status, 502)
  t.match(String(events('login_failed')[0]?.['cause']), /invalid_client/)
  t.notMatch(log.join(''), 'a-wrong-secret')
})
