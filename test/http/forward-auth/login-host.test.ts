import t, { type Test } from 'tap'
import { parse } from 'yaml'
import { createBrowser, type Browser } from '../../support/browser.ts'
import { createAuthority } from '../../support/certificates.ts'
import { documented } from '../../support/documented.ts'
import { freePort } from '../../support/free-port.ts'
import { startGateway, type Running } from '../../support/gateway.ts'
import { startNginx } from '../../support/nginx.ts'
import { documentedProxies, type Places } from './documented-proxies.ts'

// Real proxies with the configuration of docs/forward-auth.md for many hosts.
const [yaml = ''] = documented('forward-auth.md', 'yaml')
const { trustedProxies, routes }: { trustedProxies: string[]; routes: object[] } = parse(yaml)
const authority = createAuthority()
const SCRIPT = { kind: 'script' } as const

type Started = Running & Record<'auth' | 'one' | 'two', string> & { readonly browser: Browser }

/** Starts a gateway for all hosts below example.com, and a proxy in front of it. */
const startHosts = async (t: Test, startProxy: (places: Places) => Promise<void>): Promise<Started> => {
  const port = await freePort()
  const [auth, one, two] = ['auth', 'app1', 'app2'].map((name) => `https://${name}.example.com:${port}`) as [
    string,
    string,
    string,
  ]
  const running = await startGateway(t, {
    client: {
      redirectUris: [`${auth}/oauth2/callback`],
      postLogoutRedirectUris: [`${auth}/oauth2/logout/callback`],
    },
    config: {
      publicUrl: [auth, `https://*.example.com:${port}`],
      loginHost: auth,
      session: { cookie: { domain: 'example.com' } },
      trustedProxies,
      routes,
      forwardAuth: { listen: '127.0.0.1:0' },
    },
  })
  const gateway = running.gateway.listener.address()
  await startProxy({
    port,
    gateway: `127.0.0.1:${typeof gateway === 'object' && gateway !== null ? gateway.port : 0}`,
    verdicts: new URL(running.verdicts).host,
    application: new URL(running.upstream.url).host,
    certificate: authority.issue(['*.example.com']),
    manyHosts: true,
  })
  const address = `https://127.0.0.1:${port}`
  const browser = createBrowser({ ca: authority.ca, origins: { [auth]: address, [one]: address, [two]: address } })
  return { ...running, auth, one, two, browser }
}

const redirectOf = (url: string | undefined): string | null => new URL(url ?? '').searchParams.get('redirect')

t.jobs = documentedProxies.length + 1
for (const [name, start] of documentedProxies) {
  void t.test(`${name}: one login at the login host serves all hosts`, { buffered: true }, async (t) => {
    const { auth, one, two, browser, upstream } = await startHosts(t, async (places) => start(t, places))
    const script = await browser.get(`${one}/api/orders`, { ...SCRIPT, from: `${one}/page` })
    t.match(script.json(), { status: 401, code: 'login_required' })
    t.equal(redirectOf(String(script.json()['login_url'])), `${one}/page`)
    t.same(upstream.requests, [])

    const { answer, hops } = await browser.login(`${one}/api/orders?page=2`, 'alice')
    t.equal(answer.url, `${one}/api/orders?page=2`)
    t.equal(hops[0]?.status, 302)
    t.ok(hops[1]?.url.startsWith(`${auth}/oauth2/login?`))
    t.equal(redirectOf(hops[1]?.url), `${one}/api/orders?page=2`)
    t.match(upstream.requests.at(-1), {
      url: '/api/orders?page=2',
      headers: { 'x-user': 'alice', 'authorization': /^Bearer /, 'host': new URL(one).host },
    })
    t.notMatch(upstream.requests.at(-1)?.headers.cookie, 'gatehouse')
    t.equal((await browser.get(`${two}/api/orders`, SCRIPT)).status, 200)
    t.match(upstream.requests.at(-1)?.headers, { 'x-user': 'alice', 'host': new URL(two).host })

    const bye = await browser.follow(
      await browser.get(`${auth}/oauth2/sign_out?rd=${one}/public/bye`, { from: `${one}/` }),
    )
    t.equal(bye.answer.url, `${one}/public/bye`)
    t.equal((await browser.get(`${two}/api/orders`, SCRIPT)).status, 401)
  })
}

const ingress = 'a proxy that redirects a 401 to start?rd=, as ingress-nginx does, leads back to the page'
void t.test(ingress, { buffered: true }, async (t) => {
  const { auth, one, browser, upstream } = await startHosts(
    t,
    async ({ port, gateway, verdicts, application, certificate }) =>
      startNginx(
        t,
        port,
        `server {
  listen 127.0.0.1:${port} ssl;
  server_name auth.example.com;
  ssl_certificate FOLDER/a.crt;
  ssl_certificate_key FOLDER/a.key;
  location / { proxy_pass http://${gateway}; proxy_set_header Host $http_host; }
}
server {
  listen 127.0.0.1:${port} ssl;
  server_name *.example.com;
  ssl_certificate FOLDER/a.crt;
  ssl_certificate_key FOLDER/a.key;
  location / {
    auth_request /_verdict;
    auth_request_set $user $upstream_http_x_user;
    error_page 401 = @signin;
    proxy_set_header X-User $user;
    proxy_set_header Host $http_host;
    proxy_pass http://${application};
  }
  location = /_verdict {
    internal;
    proxy_pass http://${verdicts}/auth;
    proxy_pass_request_body off;
    proxy_set_header Content-Length "";
    proxy_set_header X-Original-URL $scheme://$http_host$request_uri;
    proxy_set_header X-Original-Method $request_method;
  }
  location @signin { return 302 https://auth.example.com:${port}/oauth2/start?rd=https://$http_host$request_uri; }
}`,
        { 'a.crt': certificate.cert, 'a.key': certificate.key },
      ),
  )
  const { answer, hops } = await browser.login(`${one}/api/orders?page=2`, 'alice')
  t.equal(answer.url, `${one}/api/orders?page=2`)
  t.equal(hops[1]?.url, `${auth}/oauth2/start?rd=${one}/api/orders?page=2`)
  t.match(upstream.requests.at(-1)?.headers, { 'x-user': 'alice', 'host': new URL(one).host })
})
