import t from 'tap'
import { presets } from '../../src/config/presets/table.ts'
import { checkToken, mismatchText, type AcceptedTokens } from '../../src/oidc/token-rules.ts'
import type { Claims } from '../../src/oidc/token-set.ts'

const API = 'api://orders'
const CLIENT = 'b14a7505-96e9-4927-91e8-0601d0fc9caa'

const accepting = (acceptance: Partial<AcceptedTokens> = {}, preset = ''): AcceptedTokens => ({
  audiences: [],
  clientIds: [],
  substitutes: presets.find(({ name }) => name === preset) ?? {},
  ownClientIds: [CLIENT],
  ...acceptance,
})

const api = { audiences: [API] }
const client = { clientIds: [CLIENT] }
/** A route that accepts the tokens of the gateway's own client, by `aud` and by `azp`. */
const own = { audiences: [CLIENT], clientIds: [CLIENT] }

/** Claims as providers put them into access tokens without the type of RFC 9068. */
const ACCESS_TOKENS: readonly [provider: string, Claims, AcceptedTokens][] = [
  ['Keycloak', { typ: 'Bearer', azp: CLIENT, aud: ['account', API], scope: 'openid', sid: 's' }, accepting(api)],
  ['Keycloak, without an audience', { typ: 'Bearer', azp: CLIENT, aud: 'account' }, accepting(client)],
  ['Keycloak, whose audience is the client', { typ: 'Bearer', azp: CLIENT, aud: CLIENT }, accepting(own)],
  ['Auth0', { aud: [API, 'https://t.auth0.com/userinfo'], azp: CLIENT, scope: 'openid' }, accepting(api)],
  ['Auth0, of a machine without scopes', { aud: API, azp: CLIENT, gty: 'client-credentials' }, accepting(client)],
  ['Okta', { ver: 1, aud: 'api://default', cid: CLIENT, scp: ['openid'] }, accepting({ audiences: ['api://default'] })],
  ['Okta, by client', { ver: 1, aud: 'api://default', cid: CLIENT, scp: ['openid'] }, accepting(client, 'okta')],
  ['Entra ID, version 2', { ver: '2.0', aud: CLIENT, azp: CLIENT, azpacr: '1', scp: 'read' }, accepting(own)],
  ['Entra ID, of an application', { ver: '2.0', aud: CLIENT, azp: 'x', azpacr: '1', roles: ['a'] }, accepting(own)],
  ['Entra ID, version 1', { ver: '1.0', aud: API, appid: CLIENT, appidacr: '1', scp: 'read' }, accepting(api)],
  ['Entra ID, version 1, by client', { ver: '1.0', aud: API, appid: CLIENT, scp: 'read' }, accepting(client, 'entra')],
  ['Cognito, by the preset', { token_use: 'access', client_id: CLIENT, scope: 'a' }, accepting(own, 'cognito')],
  ['Cognito, by client', { token_use: 'access', client_id: CLIENT, username: 'u' }, accepting(client)],
  ['ZITADEL', { aud: [CLIENT, '17'], client_id: CLIENT }, accepting(own)],
  ['authentik', { aud: CLIENT, azp: CLIENT, uid: 'x', scope: 'openid' }, accepting(own)],
  ['a plain JWT', { aud: API }, accepting(api)],
  ['a plain JWT without an audience, by client', { azp: CLIENT }, accepting(client)],
  [
    'a service account of Google',
    { aud: 'https://orders.example', azp: '104029' },
    accepting({ audiences: ['https://orders.example'] }),
  ],
  [
    'a service account of Google, with its address',
    { aud: 'https://orders.example', azp: '104029', email: 'a@b.iam.gserviceaccount.com', email_verified: true },
    accepting({ audiences: ['https://orders.example'] }),
  ],
  ['a plain JWT about a login', { aud: API, auth_time: 1, acr: 'gold', email_verified: true }, accepting(api)],
  ['a plain JWT, by client', { aud: API, azp: CLIENT }, accepting(client)],
  ['GitHub Actions', { aud: API, repository: 'o/r', actor: 'a', ref: 'x' }, accepting({ ...api, ownClientIds: [] })],
  ['Kubernetes', { 'aud': [API], 'kubernetes.io': { namespace: 'default' } }, accepting(api)],
  ['GitLab', { aud: API, project_path: 'g/p', user_email: 'a@b.c' }, accepting(api)],
]

/** Claims as providers put them into other tokens. */
const OTHER_TOKENS: readonly [provider: string, Claims, AcceptedTokens][] = [
  ['Keycloak', { typ: 'ID', azp: CLIENT, aud: CLIENT, at_hash: 'x' }, accepting(own)],
  ['Keycloak, with a scope', { typ: 'ID', azp: CLIENT, aud: CLIENT, scope: 'openid' }, accepting(own)],
  ['Keycloak, a refresh token', { typ: 'Refresh', azp: CLIENT, aud: API, scope: 'openid' }, accepting(api)],
  ['Google', { azp: CLIENT, aud: CLIENT, at_hash: 'x', email: 'a@b.c' }, accepting(own)],
  ['Google, refreshed', { azp: CLIENT, aud: CLIENT, email: 'a@b.c' }, accepting(own)],
  ['Auth0', { aud: CLIENT, nonce: 'x', sid: 's' }, accepting(own)],
  ['Auth0, refreshed', { aud: CLIENT, sid: 's' }, accepting(own)],
  ['Okta', { ver: 1, aud: CLIENT, amr: ['pwd'], auth_time: 1, at_hash: 'x' }, accepting(own)],
  ['Entra ID', { ver: '2.0', aud: CLIENT, tid: 't', roles: ['a'] }, accepting(own)],
  ['Cognito', { 'token_use': 'id', 'aud': CLIENT, 'cognito:username': 'u' }, accepting(own, 'cognito')],
  ['Cognito, with a scope', { token_use: 'id', aud: CLIENT, scope: 'a' }, accepting(own, 'cognito')],
  [
    'an application of the same provider',
    { aud: 'spa', azp: 'spa' },
    accepting({ audiences: ['spa'], clientIds: ['spa'] }),
  ],
  ['an application, by client', { aud: ['spa', 'other'], azp: 'spa' }, accepting({ clientIds: ['spa'] })],
  ['another application, with a session', { aud: API, sid: 's' }, accepting(api)],
  ['two audiences', { aud: [CLIENT, API], azp: CLIENT }, accepting(api)],
  ['a logout token', { aud: API, events: {} }, accepting(api)],
]

void t.test('access tokens of common providers are recognized', (t) => {
  for (const [name, claims, accepted] of ACCESS_TOKENS) t.equal(checkToken(claims, 'jwt', accepted), null, name)
  t.end()
})

void t.test('an ID token is never an access token, regardless of its audience, azp and scope', (t) => {
  for (const [name, claims, accepted] of OTHER_TOKENS) t.equal(checkToken(claims, 'jwt', accepted), 'other-kind', name)
  t.end()
})

void t.test('an audience or a client is enough', (t) => {
  const both = accepting({ audiences: [API], clientIds: ['robot', 'cron'] })
  const token = { scope: 'a', aud: 'api://stock', client_id: 'spa' }
  t.equal(checkToken({ ...token, aud: API }, 'jwt', both), null)
  t.equal(checkToken({ ...token, client_id: 'cron' }, 'jwt', both), null)
  t.equal(checkToken({ ...token, client_id: undefined, azp: 'robot' }, 'jwt', both), null)
  t.same(
    mismatchText(checkToken(token, 'jwt', both) ?? []),
    'its aud is "api://stock", not "api://orders", and its client_id is "spa", not "robot" or "cron"',
  )
  t.not(checkToken({ ...token, azp: 'robot' }, 'jwt', both), null, 'azp counts without client_id only')
  t.not(checkToken({ scope: 'a', aud: [[API]], client_id: ['robot'] }, 'jwt', both), null, 'a client is no list')
  t.end()
})

void t.test('an answer about an opaque token must show that it is an access token, or name an audience', (t) => {
  const accepted = accepting({ audiences: [API], clientIds: ['robot'] })
  const rows: readonly [string, Claims, unknown][] = [
    ['a refresh token of oidc-provider', { client_id: 'robot', scope: 'openid' }, 'other-kind'],
    ['an access token of oidc-provider', { client_id: 'robot', scope: 'openid', token_type: 'Bearer' }, null],
    ['an audience', { client_id: 'spa', aud: API }, null],
    ['a refresh token of Hydra', { aud: [API], token_type: 'Bearer', token_use: 'refresh_token' }, 'other-kind'],
    ['an access token of Hydra', { client_id: 'robot', token_use: 'access_token' }, null],
    ['an offline token of Keycloak', { aud: API, client_id: 'robot', typ: 'Offline' }, 'other-kind'],
    ['an ID token of Keycloak', { aud: API, client_id: 'robot', typ: 'ID' }, 'other-kind'],
    ['an access token of Keycloak', { client_id: 'robot', typ: 'Bearer' }, null],
  ]
  for (const [name, claims, refusal] of rows) t.equal(checkToken(claims, 'opaque', accepted), refusal, name)
  t.end()
})

void t.test('with the type of RFC 9068, a token is an access token regardless of its claims', (t) => {
  t.equal(checkToken({ aud: CLIENT, nonce: 'x', client_id: CLIENT }, 'at+jwt', accepting(own)), null)
  t.end()
})
