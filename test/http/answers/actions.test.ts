import t, { type Test } from 'tap'
import { startIdp } from '../../../src/demo/idp.ts'
import { createBrowser, type Browser, type RequestOptions } from '../../support/browser.ts'
import type { Answer } from '../../support/exchange.ts'
import { startGateway, type Running } from '../../support/gateway.ts'
import { unescapeHtml } from '../../support/html-form.ts'
import { ask } from '../../support/raw-http.ts'
import { authorizationUrlOf, plainPage, signIn } from '../../support/sign-in.ts'
import { startScriptedProvider } from '../../oidc/scripted-provider.ts'
import { startTwo } from '../../support/two-providers.ts'

const idp = await startIdp()
t.teardown(async () => idp.close())

const GROUPS = { groups: ['suspended-group'] }
const ELSEWHERE = ['203.0.113.0/24']
const routes = [
  { path: '/**' },
  { path: '/admin/**', require: { claims: GROUPS } },
  { path: '/mail/**', require: { claims: { email: '*@secret.example' } } },
  { path: '/network/**', require: { networks: ELSEWHERE } },
  { path: '/tenant/**', require: { claims: { tid: 'secret' } } },
  { path: '/either/**', require: { any: [{ claims: GROUPS }, { networks: ELSEWHERE }] } },
  { path: '/not/**', require: { not: { claims: { groups: 'staff' } } } },
  { path: '/robot/**', bearer: { audience: 'api://orders' }, require: { claims: GROUPS } },
  { path: '/down/**', upstream: 'http://127.0.0.1:9' },
]

interface Link {
  readonly label: string
  readonly href: string
  readonly url: URL
}

function linksOf({ body, url }: Answer): Link[] {
  return [...body.matchAll(/<a (?:id="\w+" )?href="([^"]*)"[^>]*>(.*?)<\/a>/g)].map(([, written = '', label = '']) => {
    const href = unescapeHtml(written)
    return { label: unescapeHtml(label.replaceAll(/<[^>]*>/g, '')), href, url: new URL(href, url) }
  })
}

function labels(answer: Answer): string[] {
  return linksOf(answer).map(({ label }) => label)
}

function link(answer: Answer, label: string): string {
  return linksOf(answer).find((one) => one.label === label)?.url.href ?? `no link ${label}`
}

function detail({ body }: Answer): string {
  return unescapeHtml(/<h1>.*?<\/h1><p>(.*?)<\/p>/.exec(body)?.[1] ?? '')
}

async function started(t: Test, config: object = {}, user = 'alice'): Promise<Running & { browser: Browser }> {
  const running = await startGateway(t, { idp, config: { routes, ...config } })
  const browser = createBrowser()
  await browser.login(`${running.url}/oauth2/login`, user)
  return { ...running, browser }
}

/** Follows each link of a page and fails if one ends at the same page. */
async function leadsOn(t: Test, browser: Browser, page: Answer): Promise<void> {
  const heading = /<h1>.*?<\/h1>/.exec(page.body)?.[0]
  t.ok(heading, page.url)
  for (const { label, href, url } of linksOf(page)) {
    // The user follows this link later, when the cause may be gone.
    if (href === '' || url.protocol === 'mailto:') continue
    const { answer } = await browser.follow(await browser.get(url.href, { from: page.url }))
    const isSame = answer.status === page.status && answer.body.includes(heading ?? '') && answer.url === page.url
    t.notOk(isSame, `${page.url}: ${label} leads to ${answer.url} (${answer.status})`)
  }
}

void t.test('a user without access sees who is signed in, the kind of reason, and ways on', async (t) => {
  const { url, browser } = await started(t, { pages: { contact: 'it@example.com' } })
  const reasons: Record<string, string> = {
    '/admin/a?b=c': 'To open this, you need to be in another group or have another role.',
    '/mail/': 'Your email address is not one of those that may open this.',
    '/network/': 'This can’t be opened from the network that you are using.',
    '/tenant/': 'You are not allowed to open this.',
    '/either/': 'You are not allowed to open this.',
    '/not/': 'You are not allowed to open this.',
  }
  for (const [path, reason] of Object.entries(reasons)) {
    const page = await browser.get(url + path)
    t.same([page.status, page.headers['gatehouse']], [403, 'forbidden'], path)
    t.equal(detail(page), reason, path)
    t.match(page.body, 'You are signed in as <strong><bdi>Alice Archer (alice@example.com)</bdi></strong>.')
    t.notMatch(page.body, /suspended|secret|203\.0\.113|staff|claim/, 'the rule stays inside')
    t.same(labels(page), ['Use another account', 'Sign out', 'Start page', 'it@example.com'], path)
    t.equal(link(page, 'it@example.com'), 'mailto:it@example.com')
    t.equal(link(page, 'Sign out'), `${url}/oauth2/logout`)
    const login = new URL(link(page, 'Use another account'))
    t.same(
      [...login.searchParams],
      [
        ['redirect', path],
        ['prompt', 'select_account'],
      ],
    )
  }
})

void t.test('“Use another account” lets the user choose and leads back', async (t) => {
  const { url, browser } = await started(
    t,
    { routes: [{ path: '/**', require: { claims: { email: 'alice@*' } } }] },
    'bob',
  )
  const page = await browser.get(`${url}/orders?id=7`)
  t.equal(page.status, 403)
  t.match(page.body, 'Bob Baker')
  const authorization = authorizationUrlOf(await browser.get(link(page, 'Use another account'), plainPage))
  t.equal(authorization.searchParams.get('prompt'), 'select_account')
  const callback = await signIn(browser, authorization, 'alice')
  const end = await browser.get(callback.href)
  t.equal(end.headers.location, '/orders?id=7')
  t.match((await browser.get(`${url}/orders?id=7`)).body, 'The application has nothing at')
})

void t.test('a provider that does not announce select_account is asked for a login', async (t) => {
  const provider = await startScriptedProvider(t)
  provider.document['prompt_values_supported'] = ['none', 'login']
  const { url } = await startGateway(t, { config: { provider: { issuer: provider.issuer }, routes } })
  const { browser } = await provider.login(url)
  const page = await browser.get(`${url}/admin/`)
  const authorization = authorizationUrlOf(await browser.get(link(page, 'Use another account'), plainPage))
  t.equal(authorization.searchParams.get('prompt'), 'login')
})

void t.test('of several providers, the user chooses one for another account', async (t) => {
  const { url } = await startTwo(t, { config: { routes: [{ path: '/**', require: { claims: GROUPS } }] } })
  const browser = createBrowser()
  const { answer } = await browser.login(`${url}/oauth2/login?provider=staff&redirect=/orders`, 'alice')
  t.equal(answer.status, 403)
  const choice = await browser.get(link(answer, 'Use another account'))
  t.same(labels(choice), ['Our staff', 'partners'])
  for (const { url: next } of linksOf(choice))
    t.equal(authorizationUrlOf(await browser.get(next.href)).searchParams.get('prompt'), 'select_account')
})

type Case = readonly [path: string, expected: readonly string[], options?: RequestOptions]

const fromElsewhere: RequestOptions = { from: 'https://evil.example/' }
const sites: readonly (readonly [name: string, config: object, cases: readonly Case[]])[] = [
  [
    'in an application with an open start page',
    { routes },
    [
      ['/oauth2/nothing', ['Start page']],
      ['/down/', ['Try again', 'Start page']],
      ['/down/%252e%252e/admin', ['Start page']],
      ['/oauth2/form?id=x', ['Start page']],
      ['/oauth2/silent?outcome=error', ['Start page']],
      ['/oauth2/callback', ['Sign in', 'Start page']],
      ['/oauth2/logout', ['Stay signed in'], fromElsewhere],
      ['/admin/', ['Use another account', 'Sign out', 'Start page']],
    ],
  ],
  [
    'after too many logins',
    { routes, rateLimit: { login: '1/1h' } },
    [
      ['/oauth2/silent?outcome=error', ['Try again']],
      ['/oauth2/login', ['Try again']],
    ],
  ],
  [
    'in an application that is closed to the user',
    { routes: [{ path: '/**', require: { claims: GROUPS } }] },
    [
      ['/', ['Use another account', 'Sign out']],
      ['/orders', ['Use another account', 'Sign out']],
    ],
  ],
  [
    'without a start page',
    { routes: [{ path: '/app/**' }] },
    [
      ['/', []],
      ['/other', []],
      ['/oauth2/silent?outcome=error', []],
      ['/oauth2/form?id=x', []],
      ['/oauth2/logout', [], fromElsewhere],
      ['/oauth2/callback', ['Sign in']],
    ],
  ],
  [
    'in front of an application that is down',
    { upstream: 'http://127.0.0.1:9', routes: [{ path: '/**' }] },
    [
      ['/', ['Try again']],
      ['/orders', ['Try again']],
    ],
  ],
]

for (const [name, config, cases] of sites)
  void t.test(`no link leads to the same page again, ${name}`, async (t) => {
    const { url, browser } = await started(t, config)
    for (const [path, expected, options = {}] of cases) {
      const page = await browser.get(url + path, options)
      t.same(labels(page), expected, path)
      await leadsOn(t, browser, page)
      // A link may have signed the user out.
      if (expected.includes('Sign out')) await browser.login(`${url}/`, 'alice')
    }
  })

void t.test(
  'after a refused sign-in, the start page is offered only if it is not a second link to the login',
  async (t) => {
    const { url } = await startGateway(t, { idp, config: { routes } })
    const browser = createBrowser()
    t.same(labels(await browser.get(`${url}/oauth2/callback`)), ['Sign in'])
    const refused = async (target: string): Promise<string[]> => {
      const login = authorizationUrlOf(await browser.get(`${url}/oauth2/login?redirect=${target}`, plainPage))
      const state = login.searchParams.get('state') ?? ''
      const query = new URLSearchParams({ error: 'access_denied', state, iss: idp.issuer })
      return labels(await browser.get(`${url}/oauth2/callback?${query.toString()}`))
    }
    t.same(await refused('/'), ['Sign in'])
    t.same(await refused('/orders'), ['Sign in', 'Start page'])
  },
)

void t.test('the provider or the store being down offers nothing that needs it', async (t) => {
  const own = await startIdp()
  t.teardown(async () => own.close())
  const { url } = await startGateway(t, { idp: own, config: { routes } })
  const { browser } = { browser: createBrowser() }
  own.fail('discovery', { status: 503 })
  const page = await browser.get(`${url}/oauth2/login?redirect=/orders`)
  t.same([page.status, labels(page)], [503, ['Try again']])
})

void t.test('from a frame, the links of the page lead to the top window', async (t) => {
  const { url, browser } = await started(t)
  const page = await browser.get(`${url}/admin/`, { kind: 'frame', from: `${url}/outer` })
  t.equal(page.status, 403)
  t.equal(page.body.match(/<a [^>]*target="_top">(?:Use another account|Sign out)</g)?.length, 2)
  t.equal(new URL(link(page, 'Use another account')).searchParams.get('redirect'), '/outer')
})

void t.test('a form that may not be sent leads back to its page with another account', async (t) => {
  const { url, browser } = await started(t)
  const page = await browser.post(`${url}/admin/`, new URLSearchParams({ a: 'b' }), { from: `${url}/orders` })
  t.equal(page.status, 403)
  t.equal(new URL(link(page, 'Use another account')).searchParams.get('redirect'), '/orders')
})

void t.test('a client with a token of its own gets a problem, regardless of what it accepts', async (t) => {
  const { url } = await startGateway(t, { idp, config: { routes } })
  const now = Math.floor(Date.now() / 1000)
  const claims = { iss: idp.issuer, aud: 'api://orders', sub: 'alice', client_id: 'robot', iat: now, exp: now + 60 }
  const token = await idp.sign({ ...claims, jti: 'a' }, { typ: 'at+jwt' })
  const answer = await createBrowser().get(`${url}/robot/`, {
    kind: 'none',
    headers: { 'accept': 'text/html', 'authorization': `Bearer ${token}`, 'accept-language': 'de' },
  })
  t.same([answer.status, answer.headers['content-type']], [403, 'application/problem+json'])
  t.match(answer.json(), { code: 'forbidden', title: 'Not allowed', detail: /^To open this, you need/ })
})

void t.test('a problem is in English', async (t) => {
  const { url, browser } = await started(t)
  const headers = { 'accept-language': 'de' }
  const answer = await browser.get(`${url}/admin/`, { kind: 'script', headers })
  t.match(answer.json(), { title: 'Not allowed', detail: /^To open this, you need/ })
  t.equal(answer.headers['content-language'], undefined)
  const anonymous = await createBrowser().get(`${url}/orders`, { kind: 'script', headers })
  t.match(anonymous.json(), { title: 'Login required', detail: 'You have to sign in to continue.' })
  const page = await browser.get(`${url}/admin/`, { headers })
  t.equal(page.headers['content-language'], 'de')
  t.match(page.body, 'Sie sind als <strong><bdi>Alice Archer (alice@example.com)</bdi></strong> angemeldet.')
  t.same(labels(page), ['Anderes Konto verwenden', 'Abmelden', 'Zur Startseite'])
})

void t.test('the page that a forward-auth proxy passes on has the links of the original request', async (t) => {
  const { url, verdicts, browser } = await started(t, {
    forwardAuth: { listen: '127.0.0.1:0' },
    trustedProxies: ['127.0.0.1/32'],
  })
  const { body } = await ask(verdicts, 'GET', '/auth', [
    `Host: ${new URL(url).host}`,
    'X-Forwarded-Method: GET',
    `X-Forwarded-Host: ${new URL(url).host}`,
    'X-Forwarded-Proto: http',
    'X-Forwarded-Uri: /admin/x?y=z',
    'Accept: text/html',
    'Sec-Fetch-Mode: navigate',
    'Sec-Fetch-Dest: document',
    `Cookie: ${browser.cookies.header(new URL(url))}`,
  ])
  const html = unescapeHtml(body.toString())
  t.match(html, 'Alice Archer')
  t.match(html, `${url}/oauth2/login?redirect=%2Fadmin%2Fx%3Fy%3Dz&prompt=select_account"`)
  t.match(html, `${url}/oauth2/logout"`)
  t.match(html, `${url}/"`)
})

void t.test('a name is shortened, and cannot reverse the text around it', async (t) => {
  const name = `\u202E<b>${'x'.repeat(200)}`
  idp.users.set('carol', { sub: 'carol', name, email: 'carol@example.com', groups: [] })
  const { url, browser } = await started(t, {}, 'carol')
  const { body } = await browser.get(`${url}/admin/`)
  t.match(body, `<bdi>&lt;b&gt;${'x'.repeat(77)}… (carol@example.com)</bdi>`)
})
