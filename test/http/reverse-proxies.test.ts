import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { parse } from 'yaml'
import { createBrowser } from '../support/browser.ts'
import { createAuthority, type Certificate } from '../support/certificates.ts'
import { documented } from '../support/documented.ts'
import { eventually } from '../support/eventually.ts'
import { freePort } from '../support/free-port.ts'
import { startGateway } from '../support/gateway.ts'
import { startNginx } from '../support/nginx.ts'
import { startProxyProgram } from '../support/proxy-program.ts'
import { ask, open as openSocket, openAndRead } from '../support/raw-http.ts'
import { openWebSocket } from '../support/websocket.ts'

// Real proxies with the configuration of docs/proxies.md, except for ports and file names. They share one gateway.
const PAGE = 'proxies.md'
const [yaml = '', ...others] = documented(PAGE, 'yaml')
const { trustedProxies }: { trustedProxies: string[] } = parse(yaml)
const authority = createAuthority()

type Places = { readonly port: number; readonly gateway: string; readonly files: Readonly<Record<string, string>> }
type StartProxy = (t: Test, places: Places) => Promise<void>

const put = (text: string | undefined, replacements: Readonly<Record<string, string>>): string =>
  Object.entries(replacements).reduce((all, [from, to]) => {
    if (!all.includes(from)) throw new Error(`docs/${PAGE} does not have ${from}`)
    return all.replaceAll(from, to)
  }, text ?? '')

const yamlWith = (text: string): string | undefined => others.find((one) => one.includes(text))

const proxies: Readonly<Record<string, StartProxy>> = {
  nginx: async (t, { port, gateway, files }) =>
    startNginx(
      t,
      port,
      put(documented(PAGE, 'nginx')[0], {
        'listen 443 ssl': `listen 127.0.0.1:${port} ssl`,
        'server 127.0.0.1:8080': `server ${gateway}`,
        '/etc/nginx/': 'FOLDER/',
      }),
      files,
    ),
  HAProxy: async (t, { port, gateway, files }) =>
    startProxyProgram(t, port, {
      name: 'haproxy',
      files: {
        ...files,
        'haproxy.cfg': put(documented(PAGE, 'haproxy')[0], {
          'bind :443': `bind 127.0.0.1:${port}`,
          '127.0.0.1:8080': gateway,
          '/etc/haproxy/': 'FOLDER/',
        }),
      },
      args: (folder) => ['-db', '-f', `${folder}/haproxy.cfg`],
    }),
  Caddy: async (t, { port, gateway, files }) => {
    const site = put(documented(PAGE, 'caddyfile')[0], {
      'orders.example.com {': `127.0.0.1:${port} {\n\ttls FOLDER/orders.crt FOLDER/orders.key`,
      '127.0.0.1:8080': gateway,
    })
    await startProxyProgram(t, port, {
      name: 'caddy',
      files: { ...files, Caddyfile: `{\n\tadmin off\n\tauto_https off\n\tdefault_sni 127.0.0.1\n}\n${site}` },
      args: (folder) => ['run', '--config', `${folder}/Caddyfile`, '--adapter', 'caddyfile'],
    })
  },
  Traefik: async (t, { port, gateway, files }) => {
    await startProxyProgram(t, port, {
      name: 'traefik',
      files: {
        ...files,
        'traefik.yaml': put(yamlWith('# /etc/traefik/traefik.yaml'), {
          '":443"': `"127.0.0.1:${port}"`,
          '/etc/traefik/': 'FOLDER/',
        }),
        'orders.yaml': put(yamlWith('# /etc/traefik/orders.yaml'), {
          'orders.example.com': '127.0.0.1',
          '127.0.0.1:8080': gateway,
          '/etc/traefik/': 'FOLDER/',
        }),
      },
      args: (folder) => [`--configFile=${folder}/traefik.yaml`],
    })
    await eventually(async () => (await ask(`https://127.0.0.1:${port}`, 'GET', '/oauth2/login')).status !== 404, {
      what: 'Traefik has read its routers',
    })
  },
  Envoy: async (t, { port, gateway, files }) =>
    startProxyProgram(t, port, {
      name: 'envoy',
      files: {
        ...files,
        'envoy.yaml': put(yamlWith('# /etc/envoy/envoy.yaml'), {
          'address: 0.0.0.0, port_value: 443 ': `address: 127.0.0.1, port_value: ${port} `,
          'address: 127.0.0.1, port_value: 8080 ': `address: 127.0.0.1, port_value: ${gateway.replace(/^.*:/, '')} `,
          'domains: [orders.example.com]': 'domains: [127.0.0.1]',
          '/etc/envoy/': 'FOLDER/',
        }),
      },
      args: (folder) => ['-c', `${folder}/envoy.yaml`, '--concurrency', '1', '--disable-hot-restart', '-l', 'error'],
    }),
  Apache: async (t, { port, gateway, files }) => {
    const modules = ['mpm_event', 'authz_core', 'ssl', 'headers', 'proxy', 'proxy_http', 'proxy_wstunnel']
    const site = put(documented(PAGE, 'apache')[0], {
      '<VirtualHost *:443>': `<VirtualHost 127.0.0.1:${port}>`,
      'ServerName orders.example.com': 'ServerName 127.0.0.1',
      '127.0.0.1:8080': gateway,
      '/etc/apache2/': 'FOLDER/',
    })
    const lines = [
      ...modules.map((name) => `LoadModule ${name}_module /usr/lib/apache2/modules/mod_${name}.so`),
      `Listen 127.0.0.1:${port}`,
      'ServerName 127.0.0.1',
      'ServerRoot FOLDER',
      'DefaultRuntimeDir FOLDER',
      'PidFile FOLDER/pid',
      'ErrorLog FOLDER/error.log',
      'StartServers 1',
      'User www-data',
      'Group www-data',
      site,
    ]
    await startProxyProgram(t, port, {
      name: 'apache2',
      files: { ...files, 'apache.conf': `${lines.join('\n')}\n` },
      args: (folder) => ['-D', 'FOREGROUND', '-f', `${folder}/apache.conf`],
    })
  },
}

const filesOf = ({ cert, key }: Certificate): Places['files'] => ({
  'orders.crt': cert,
  'orders.key': key,
  'orders.pem': cert + key,
})

const names = Object.keys(proxies)
const ports = new Map<string, number>()
for (const name of names) ports.set(name, await freePort())
const sites = [...ports.values()].map((port) => `https://127.0.0.1:${port}`)
const { gateway, upstream, events } = await startGateway(t, {
  publicUrl: sites[0] ?? '',
  client: { redirectUris: sites.map((site) => `${site}/oauth2/callback`) },
  config: { publicUrl: sites, trustedProxies },
})
const address = gateway.listener.address()
const listen = `127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`
const files = filesOf(authority.issue(['127.0.0.1']))

t.jobs = names.length + 1
for (const [name, start] of Object.entries(proxies)) {
  void t.test(`${name} passes everything on to the gateway`, { buffered: true }, async (t) => {
    const port = ports.get(name) ?? 0
    await start(t, { port, gateway: listen, files })
    const site = `https://127.0.0.1:${port}`
    const { host } = new URL(site)
    const browser = createBrowser({ ca: authority.ca })
    const mine = (path: string): typeof upstream.requests =>
      upstream.requests.filter(({ url, headers }) => headers.host === host && url === path)

    const { answer } = await browser.login(`${site}/api/echo?page=2`, 'alice')
    t.equal(answer.url, `${site}/api/echo?page=2`)
    const cookie = `Cookie: ${browser.cookies.header(new URL(site))}`

    const kept = await createBrowser({ ca: authority.ca }).post(
      `${site}/orders`,
      new URLSearchParams({ note: 'keep me' }),
      {
        from: `${site}/`,
      },
    )
    t.match(kept, { status: 401, body: 'keep me' })

    const body = 'x'.repeat(2_000_000)
    const upload = await browser.post(`${site}/api/echo`, body, { kind: 'script' })
    t.match(upload.json(), { body: { length: body.length, sha256: createHash('sha256').update(body).digest('hex') } })

    const client = openSocket(site, '127.0.0.2')
    const lines = [
      `GET /api/echo/${name} HTTP/1.1`,
      `Host: ${host}`,
      cookie,
      'X-Forwarded-For: 192.0.2.66',
      'X-Forwarded-Host: evil.example',
      'X-Forwarded-Proto: http',
      'Connection: close',
    ]
    client.write(`${lines.join('\r\n')}\r\n\r\n`)
    client.resume()
    await once(client, 'close')
    t.match(mine(`/api/echo/${name}`)[0]?.headers, { 'x-forwarded-proto': 'https', 'x-forwarded-host': host })
    const clients = events('request').flatMap((line) => (line['path'] === `/api/echo/${name}` ? [line['client']] : []))
    // Envoy names its own address in place of a loopback address.
    if (name === 'Envoy') t.notOk(clients.includes('192.0.2.66'))
    else t.same(clients, ['127.0.0.2'])

    for (const target of [
      '/api/echo/a%2Fb',
      '/api/echo/a%20b',
      '/api/echo/%C3%A9',
      '/api/echo/a;b=c',
      '/api/echo//x',
    ]) {
      const { status } = await ask(site, 'GET', target, [cookie])
      const received = name === 'Traefik' ? target.replace('//', '/') : target
      t.ok(status === 200 ? mine(received).length === 1 : status === 400, `${target}: ${status}`)
    }

    const { socket, text } = openAndRead(site)
    socket.write(
      `GET /api/stream?ms=300&count=4 HTTP/1.1\r\nHost: ${host}\r\n${cookie}\r\nAccept: text/event-stream\r\n\r\n`,
    )
    await eventually(() => text().includes('{"tick":2}'), { what: 'the second event has arrived' })
    t.notMatch(text(), '{"tick":4}', 'no event is held back')
    socket.destroy()

    const webSocket = await openWebSocket(`${site}/ws`, { headers: [cookie, `Origin: ${site}`] })
    t.equal(webSocket.status, 101)
    webSocket.send('hello')
    const event = await webSocket.next()
    t.ok('payload' in event && event.payload.length > 0)
    webSocket.socket.destroy()
    const stranger = await openWebSocket(`${site}/ws`, { headers: [`Origin: ${site}`] })
    t.equal(stranger.status, 401)
  })
}

void t.test('HAProxy names the client by the PROXY protocol, and passes TLS through', { buffered: true }, async (t) => {
  const [port, behind] = [await freePort(), await freePort()]
  const folder = mkdtempSync(join(tmpdir(), 'gatehouse-'))
  t.teardown(() => {
    rmSync(folder, { recursive: true })
  })
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text)
  const { tls, listenProxyProtocol }: { tls: Record<string, string>; listenProxyProtocol: boolean } = parse(
    yamlWith('listenProxyProtocol') ?? '',
  )
  const inFolder = Object.entries(tls).map(([key, path]) => [key, path.replace('/etc/gatehouse', folder)])
  const site = `https://127.0.0.1:${port}`
  const running = await startGateway(t, {
    port: behind,
    publicUrl: site,
    upstream,
    config: { trustedProxies, listenProxyProtocol, tls: Object.fromEntries(inFolder) },
  })
  await startProxyProgram(t, port, {
    name: 'haproxy',
    files: {
      'haproxy.cfg': put(documented(PAGE, 'haproxy')[1], {
        'bind :443': `bind 127.0.0.1:${port}`,
        '127.0.0.1:8443': `127.0.0.1:${behind}`,
      }),
    },
    args: (configuration) => ['-db', '-f', `${configuration}/haproxy.cfg`],
  })
  const client = openSocket(site, '127.0.0.2')
  client.write(`GET /api/orders HTTP/1.1\r\nHost: ${new URL(site).host}\r\nConnection: close\r\n\r\n`)
  client.resume()
  await once(client, 'close')
  t.match(running.events('request'), [{ path: '/api/orders', client: '127.0.0.2', verdict: 'login_required' }])
})
