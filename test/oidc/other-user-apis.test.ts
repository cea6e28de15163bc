import t from 'tap'
import { moveClock } from '../support/clock.ts'
import { beginLogin } from '../support/sign-in.ts'
import { startUserApi, tokens, type UserApi } from './user-api.ts'

const claims = async ({ browser, gateway }: UserApi): Promise<Record<string, unknown>> =>
  (await browser.get(`${gateway.url}/oauth2/userinfo`, { kind: 'script' })).json()

void t.test('Gitea: endpoints below the issuer, and teams in pages that only the total number announces', async (t) => {
  const api = await startUserApi(t, 'gitea')
  const { provider } = api
  api.answer('/api/v1/user', {
    id: 7,
    login: 'zoe',
    full_name: 'Zoë',
    email: 'zoe@example.com',
    avatar_url: 'https://git.example.com/avatars/7',
  })
  api.answer('/api/v1/user/emails', [{ email: 'zoe@example.com', primary: true, verified: true }])
  const names = ['Owners', 'developers', 'ops']
  provider.paths.set('/api/v1/user/teams', (request, response) => {
    const page = Number(new URL(request.url ?? '/', provider.origin).searchParams.get('page') ?? 1)
    const team = { id: page, name: names[page - 1], organization: { id: 1, name: 'acme', username: 'acme' } }
    response.writeHead(200, { 'content-type': 'application/json', 'x-total-count': String(names.length) })
    response.end(JSON.stringify([team]))
  })
  const url = await beginLogin(api.browser, api.gateway.url, { redirect: '/' })
  t.equal(url.pathname, '/login/oauth/authorize')
  t.equal(url.searchParams.get('scope'), 'read:user read:organization')
  // An ID token, which Gitea issues for the scope openid, is not looked at.
  api.answerTokens(() => tokens({ id_token: 'not.a.token' }))
  t.equal((await api.login()).status, 302)
  t.same(await claims(api), {
    sub: '7',
    preferred_username: 'zoe',
    name: 'Zoë',
    email: 'zoe@example.com',
    email_verified: true,
    picture: 'https://git.example.com/avatars/7',
    groups: ['acme/Owners', 'acme/developers', 'acme/ops'],
  })
})

void t.test('Gitea: a spent code is the browser’s fault, a wrong secret is not', async (t) => {
  const api = await startUserApi(t, 'gitea')
  const answer = (description: string): void => {
    const body = JSON.stringify({ error: 'unauthorized_client', error_description: description })
    api.answerTokens(() => ({ status: 400, type: 'application/json', body }))
  }
  answer('client is not authorized')
  t.equal((await api.login()).status, 400)
  answer('invalid client secret')
  t.equal((await api.login()).status, 502)
})

void t.test('Bitbucket: workspaces of every page, and the confirmed address', async (t) => {
  const api = await startUserApi(t, 'bitbucket', (at) => ({
    provider: {
      issuer: 'https://bitbucket.org',
      endpoints: { authorization: `${at}/authorize`, token: `${at}/token`, userinfo: `${at}/2.0/user` },
    },
  }))
  api.answer('/2.0/user', {
    uuid: '{c7a0}',
    nickname: 'zoe',
    display_name: 'Zoë',
    links: { avatar: { href: 'https://avatars.example.com/zoe' } },
  })
  api.answer('/2.0/user/emails', { values: [{ email: 'zoe@example.com', is_primary: true, is_confirmed: true }] })
  api.answer('/2.0/user/workspaces', {
    values: [{ workspace: { slug: 'acme' } }],
    next: `${api.provider.origin}/2.0/user/workspaces/2`,
  })
  api.answer('/2.0/user/workspaces/2', { values: [{ workspace: { slug: 'globex' } }] })
  t.equal((await api.login()).status, 302)
  t.same(await claims(api), {
    sub: '{c7a0}',
    preferred_username: 'zoe',
    name: 'Zoë',
    picture: 'https://avatars.example.com/zoe',
    email: 'zoe@example.com',
    email_verified: true,
    groups: ['acme', 'globex'],
  })
})

void t.test('Discord: guild ids, and refresh tokens that rotate', async (t) => {
  const api = await startUserApi(t, 'discord', (at) => ({
    provider: {
      issuer: 'https://discord.com',
      endpoints: { authorization: `${at}/authorize`, token: `${at}/token`, userinfo: `${at}/api/v10/users/@me` },
    },
  }))
  const user = { id: '80351110224678912', username: 'nelly', global_name: 'Nelly', avatar: null, verified: true }
  api.answer('/api/v10/users/@me', { ...user, email: 'nelly@example.com' })
  api.answer('/api/v10/users/@me/guilds', [{ id: '197038439483310086', name: 'Testers' }])
  api.answerTokens(() => tokens({ expires_in: 100, refresh_token: `r${api.grants.length}` }))
  t.equal((await api.login()).status, 302)
  t.same(await claims(api), {
    sub: user.id,
    preferred_username: 'nelly',
    name: 'Nelly',
    email: 'nelly@example.com',
    email_verified: true,
    groups: ['197038439483310086'],
  })
  moveClock(t, 101_000)
  t.equal((await api.call()).status, 200)
  t.equal(api.grants.at(-1)?.get('refresh_token'), 'r1')
})
