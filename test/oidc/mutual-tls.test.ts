import { X509Certificate } from 'node:crypto'
import { join } from 'node:path'
import { TLSSocket } from 'node:tls'
import { exportJWK } from 'jose'
import t, { type Test } from 'tap'
import { startIdp } from '../../src/demo/idp.ts'
import { startUpstream } from '../../src/demo/upstream.ts'
import { startScriptedProvider } from './scripted-provider.ts'
import { createBrowser } from '../support/browser.ts'
import { createAuthority, type Certificate } from '../support/certificates.ts'
import { eventually } from '../support/eventually.ts'
import { startGateway, type Running } from '../support/gateway.ts'

const NAME = 'gateway.example.com'
const { ca, issue } = createAuthority()
const server = issue(['127.0.0.1'])
const own = issue([NAME])
const other = issue(['other.example.com'])
/** A certificate of an authority that the provider does not know. */
const selfMade = createAuthority().issue([NAME])
const folder = t.testdir({
  'ca.pem': ca,
  'own.pem': own.cert,
  'own-key.pem': own.key,
  'other.pem': other.cert,
  'other-key.pem': other.key,
  'self-made.pem': selfMade.cert,
  'self-made-key.pem': selfMade.key,
})
const caFile = join(folder, 'ca.pem')
const files = (name: string) => ({ certFile: join(folder, `${name}.pem`), keyFile: join(folder, `${name}-key.pem`) })
const jwkOf = async ({ cert }: Certificate) => {
  const certificate = new X509Certificate(cert)
  return { ...(await exportJWK(certificate.publicKey)), use: 'sig', x5c: [certificate.raw.toString('base64')] }
}

const idp = await startIdp({
  tls: server,
  clientAuthorities: ca,
  pushedAuthorization: true,
  clientAuthentications: ['client_secret_post', 'tls_client_auth', 'self_signed_tls_client_auth'],
})
const upstream = await startUpstream()
t.teardown(async () => Promise.all([idp.close(), upstream.close()]))

const gatewayFor = async (t: Test, client: object, keys: object): Promise<Running> =>
  startGateway(t, {
    idp,
    upstream,
    client: { clientSecret: undefined, ...client },
    config: {
      admin: { listen: '127.0.0.1:0' },
      provider: { caFile, clientSecret: null, userinfo: true, ...keys },
    },
  })

const loginAt = async ({ url }: Running) => {
  const browser = createBrowser({ ca })
  return { browser, answer: (await browser.login(`${url}/orders`, 'alice')).answer }
}

/** Returns whether a call of this operation has succeeded. */
const isCounted = async ({ gateway }: Running, operation: string): Promise<boolean> => {
  const metrics = await gateway.admin?.inject({ method: 'GET', url: '/metrics' })
  return metrics?.body.includes(`gatehouse_provider_seconds_count{operation="${operation}",outcome="ok"}`) === true
}

void t.test('with tls_client_auth and certificate-bound tokens, every endpoint gets the certificate', async (t) => {
  const client = { clientAuthentication: 'tls_client_auth', certificateName: NAME, certificateBoundTokens: true }
  for (const method of ['auto', 'tls_client_auth']) {
    const running = await gatewayFor(t, client, { clientAuthentication: method, clientCertificate: files('own') })
    const { url } = running
    const { browser, answer } = await loginAt(running)
    t.equal(answer.url, `${url}/orders`, method)
    t.equal((await browser.post(`${url}/oauth2/session/refresh`, '', { kind: 'script' })).status, 200)
    await browser.get(`${url}/oauth2/logout`, { from: `${url}/` })
    await eventually(async () => isCounted(running, 'revocation'), { what: 'the refresh token is revoked' })
    for (const operation of ['pushed_authorization', 'token', 'userinfo'])
      t.ok(await isCounted(running, operation), operation)
  }
})

void t.test('self_signed_tls_client_auth accepts the registered certificate only', async (t) => {
  const client = { clientAuthentication: 'self_signed_tls_client_auth', jwks: { keys: [await jwkOf(selfMade)] } }
  const method = { clientAuthentication: 'self_signed_tls_client_auth' }
  const right = await gatewayFor(t, client, { ...method, clientCertificate: files('self-made') })
  t.equal((await loginAt(right)).answer.url, `${right.url}/orders`)
  const wrong = await gatewayFor(t, client, { ...method, clientCertificate: files('other') })
  t.not((await loginAt(wrong)).answer.status, 200)
  t.match(wrong.log.join(''), 'invalid_client')
})

void t.test('a secret is used beside a client certificate that only binds tokens', async (t) => {
  const client = { clientSecret: 'hush-hush', certificateBoundTokens: true }
  const running = await gatewayFor(t, client, { clientSecret: 'hush-hush', clientCertificate: files('own') })
  t.equal((await loginAt(running)).answer.url, `${running.url}/orders`)
})

void t.test(
  'an endpoint of the configuration takes precedence over an alias, and a reload changes the certificate',
  async (t) => {
    const provider = await startScriptedProvider(t, '', { tls: { ...server, ca, requestCert: true } })
    const { document, origin, paths } = provider
    const subjects: string[] = []
    const keys = paths.get('/keys')
    paths.set('/mtls/keys', (request, response) => {
      const { socket } = request
      if (socket instanceof TLSSocket) subjects.push(String(socket.getPeerCertificate().subject.CN))
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(keys))
    })
    document['mtls_endpoint_aliases'] = {
      token_endpoint: `${origin}/mtls/token`,
      jwks_uri: `${origin}/mtls/keys`,
      authorization_endpoint: `${origin}/mtls/authorize`,
    }
    const { url, gateway, config } = await startGateway(t, {
      idp,
      upstream,
      config: {
        provider: {
          issuer: provider.issuer,
          caFile,
          endpoints: { token: `${origin}/token` },
          clientCertificate: files('own'),
        },
      },
    })
    const { authorization, answer } = await provider.login(url)
    t.equal(answer.headers.location, '/orders')
    t.equal(authorization.pathname, '/authorize', 'a browser has no certificate of the gateway')
    t.equal(provider.asked('/mtls/token'), 0)
    const content = (text: string) => ({ path: '', content: Buffer.from(text) })
    const clientCertificate = { certFile: content(other.cert), keyFile: content(other.key) }
    await gateway.reload({ ...config, provider: { ...config.provider, clientCertificate } })
    await provider.login(url)
    await provider.login(url)
    t.same(subjects, [NAME, 'other.example.com'])
  },
)
