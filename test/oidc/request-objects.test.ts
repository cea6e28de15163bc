import { generateKeyPairSync } from 'node:crypto'
import { decodeJwt, exportJWK, jwtVerify } from 'jose'
import t, { type Test } from 'tap'
import { createBrowser } from '../support/browser.ts'
import { startGateway, type Running } from '../support/gateway.ts'
import { beginLogin } from '../support/sign-in.ts'

const pair = generateKeyPairSync('rsa', { modulusLength: 2048 })

/** A gateway whose provider accepts only signed requests. */
const start = async (t: Test, provider: object = {}, pushedAuthorization = false): Promise<Running> =>
  startGateway(t, {
    config: {
      provider: {
        requestObjects: 'signed',
        clientSecret: null,
        privateKey: JSON.stringify({ ...(await exportJWK(pair.privateKey)), kid: 'client-key', alg: 'PS256' }),
        ...provider,
      },
    },
    idp: { pushedAuthorization },
    client: {
      clientSecret: undefined,
      jwks: { keys: [{ ...(await exportJWK(pair.publicKey)), use: 'sig', kid: 'client-key' }] },
      metadata: { require_signed_request_object: true, request_object_signing_alg: 'PS256' },
    },
  })

void t.test('requestObjects: signed sends all parameters in a JWT for the issuer', async (t) => {
  const { url, idp, config } = await start(t)
  const { searchParams } = await beginLogin(createBrowser(), url, { max_age: '300', login_hint: 'alice' })
  t.same([...searchParams.keys()].toSorted(), ['client_id', 'request', 'response_type', 'scope'])
  const { payload, protectedHeader } = await jwtVerify(searchParams.get('request') ?? '', pair.publicKey)
  t.same(protectedHeader, { alg: 'PS256', typ: 'oauth-authz-req+jwt', kid: 'client-key' })
  t.match(payload, {
    iss: config.provider.clientId,
    aud: idp.issuer,
    client_id: config.provider.clientId,
    response_type: 'code',
    redirect_uri: `${url}/oauth2/callback`,
    code_challenge_method: 'S256',
    max_age: 300,
    login_hint: 'alice',
  })
  t.ok(payload['state'] !== undefined && payload['nonce'] !== undefined && payload.exp !== undefined)

  const { answer } = await createBrowser().login(`${url}/orders`, 'alice')
  t.equal(answer.url, `${url}/orders`)
})

void t.test('a signed request can be pushed', async (t) => {
  const { url, idp } = await start(t, {}, true)
  const browser = createBrowser()
  t.same([...(await beginLogin(browser, url)).searchParams.keys()].toSorted(), ['client_id', 'request_uri'])
  t.equal((await browser.login(`${url}/orders`, 'alice')).answer.url, `${url}/orders`)
  t.equal(idp.parRequests, 2)
  t.equal(idp.lastAuthorizationRequest?.['redirect_uri'], `${url}/oauth2/callback`)
})

void t.test('a provider that requires signed requests refuses a plain one', async (t) => {
  const { url } = await start(t, { requestObjects: 'off' })
  const { answer } = await createBrowser().login(`${url}/orders`, 'alice')
  t.equal(answer.status, 400)
})

void t.test('a PEM key signs request objects, without a kid', async (t) => {
  const privateKey = pair.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
  const { url } = await start(t, { privateKey })
  const request = (await beginLogin(createBrowser(), url)).searchParams.get('request') ?? ''
  t.match(decodeJwt(request), { response_type: 'code' })
  t.same((await jwtVerify(request, pair.publicKey)).protectedHeader, { alg: 'RS256', typ: 'oauth-authz-req+jwt' })
})

void t.test('a link whose claims cannot be signed is refused', async (t) => {
  const { url } = await start(t)
  const browser = createBrowser()
  for (const claims of ['x', '[]', '{', 'null'])
    t.equal(
      (await browser.get(`${url}/oauth2/login?${new URLSearchParams({ claims }).toString()}`)).status,
      400,
      claims,
    )
})
