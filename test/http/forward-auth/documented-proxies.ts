import type { Test } from 'tap'
import { parse, stringify } from 'yaml'
import type { Certificate } from '../../support/certificates.ts'
import { documented } from '../../support/documented.ts'
import { eventually } from '../../support/eventually.ts'
import { startNginx } from '../../support/nginx.ts'
import { startProxyProgram } from '../../support/proxy-program.ts'
import { ask } from '../../support/raw-http.ts'

/** The addresses that replace those on the page. */
export type Places = {
  /** The proxy's own port. */
  readonly port: number
  /** `host:port` of the gateway's public listener, of its forward-auth listener, and of the application. */
  readonly gateway: string
  readonly verdicts: string
  readonly application: string
  readonly certificate: Certificate
  /** Whether the proxy serves all hosts below example.com, with the login host auth.example.com. */
  readonly manyHosts?: boolean
  /** Whether nginx adds the CORS headers of the verdict to the application's responses. */
  readonly cors?: boolean
}

/** Starts a proxy with its configuration from docs/forward-auth.md, with other ports and file names. */
export type StartProxy = (t: Test, places: Places) => Promise<void>

/** Replaces a text that the page must contain. */
const put = (text: string, replacements: Readonly<Record<string, string>>): string =>
  Object.entries(replacements).reduce((all, [from, to]) => {
    if (!all.includes(from)) throw new Error(`the configuration in docs/forward-auth.md does not have ${from}`)
    return all.replaceAll(from, to)
  }, text)

/** Returns the YAML block of docs/forward-auth.md that contains a text. */
export const documentedYaml = (text: string): string => {
  const block = documented('forward-auth.md', 'yaml').find((one) => one.includes(text))
  if (block === undefined) throw new Error(`docs/forward-auth.md has no YAML with ${text}`)
  return block
}

const startDocumentedNginx: StartProxy = async (
  t,
  { port, gateway, verdicts, application, certificate, manyHosts = false, cors = false },
) => {
  const [single = '', auth = '', corsLines = ''] = documented('forward-auth.md', 'nginx')
  const conf = cors ? put(single, { '    error_page': `${corsLines}    error_page` }) : single
  const all = manyHosts ? put(conf, { 'server_name orders': 'server_name *' }) + auth : conf
  const http = put(all, {
    'listen 443 ssl': `listen 127.0.0.1:${port} ssl`,
    'server 127.0.0.1:8080': `server ${gateway}`,
    'server 127.0.0.1:8081': `server ${verdicts}`,
    'server 127.0.0.1:3000': `server ${application}`,
    '/etc/nginx/': 'FOLDER/',
  })
  await startNginx(t, port, http, { 'orders.crt': certificate.cert, 'orders.key': certificate.key })
}

const startCaddy: StartProxy = async (t, { port, gateway, verdicts, application, certificate, manyHosts = false }) => {
  const [caddyfile = '', auth = ''] = documented('forward-auth.md', 'caddyfile')
  const opened = `:${port} {\n\ttls FOLDER/orders.crt FOLDER/orders.key`
  const all = manyHosts ? caddyfile + put(auth, { 'auth.example.com {': `auth.example.com${opened}` }) : caddyfile
  const site = put(all, {
    'orders.example.com {': `${manyHosts ? '*.example.com' : '127.0.0.1'}${opened}`,
    '127.0.0.1:8080': gateway,
    '127.0.0.1:8081': verdicts,
    '127.0.0.1:3000': application,
  })
  await startProxyProgram(t, port, {
    name: 'caddy',
    files: {
      'orders.crt': certificate.cert,
      'orders.key': certificate.key,
      'Caddyfile': `{\n\tadmin off\n\tauto_https off\n\tdefault_sni 127.0.0.1\n}\n${site}`,
    },
    args: (folder) => ['run', '--config', `${folder}/Caddyfile`, '--adapter', 'caddyfile'],
  })
}

const startHaproxy: StartProxy = async (
  t,
  { port, gateway, verdicts, application, certificate, manyHosts = false },
) => {
  const [single = '', line = ''] = documented('forward-auth.md', 'haproxy')
  const replaced = { '  http-request lua.gatehouse unless { path_beg /oauth2/ }\n': line }
  const cfg = manyHosts ? put(put(single, replaced), { 'auth.example.com': `auth.example.com:${port}` }) : single
  const [lua = ''] = documented('forward-auth.md', 'lua')
  await startProxyProgram(t, port, {
    name: 'haproxy',
    files: {
      'orders.pem': certificate.cert + certificate.key,
      'haproxy.cfg': put(cfg, {
        'bind :443': `bind 127.0.0.1:${port}`,
        'server gatehouse 127.0.0.1:8080': `server gatehouse ${gateway}`,
        'server application 127.0.0.1:3000': `server application ${application}`,
        '/etc/haproxy/': 'FOLDER/',
        // Without retries, the test need not wait for seconds.
        'timeout connect 5s': 'timeout connect 5s\n  retries 0',
      }),
      'gatehouse.lua': put(lua, { 'http://127.0.0.1:8081/': `http://${verdicts}/` }),
    },
    args: (folder) => ['-db', '-f', `${folder}/haproxy.cfg`],
  })
}

const startTraefik: StartProxy = async (
  t,
  { port, gateway, verdicts, application, certificate, manyHosts = false },
) => {
  const single = documentedYaml('# /etc/traefik/orders.yaml')
  const dynamic: { http: object } = parse(single, { merge: true })
  const { http: hosts }: { http: object } = parse(documentedYaml('HostRegexp('))
  const all = manyHosts ? stringify({ ...dynamic, http: { ...dynamic.http, ...hosts } }) : single
  await startProxyProgram(t, port, {
    name: 'traefik',
    files: {
      'orders.crt': certificate.cert,
      'orders.key': certificate.key,
      'traefik.yaml': put(documentedYaml('# /etc/traefik/traefik.yaml'), {
        '":443"': `"127.0.0.1:${port}"`,
        '/etc/traefik/': 'FOLDER/',
      }),
      'orders.yaml': put(all, {
        ...(manyHosts ? {} : { 'orders.example.com': '127.0.0.1' }),
        'http://gatehouse:8080': `http://${gateway}`,
        'http://gatehouse:8081': `http://${verdicts}`,
        'http://orders:3000': `http://${application}`,
        '/etc/traefik/': 'FOLDER/',
      }),
    },
    args: (folder) => [`--configFile=${folder}/traefik.yaml`],
  })
  await traefikHasRouters(port, manyHosts ? 'auth.example.com' : '127.0.0.1')
}

/** Resolves when Traefik has read its routers, which happens after it listens. Until then, it answers with 404. */
const traefikHasRouters = async (port: number, host: string): Promise<void> =>
  eventually(
    async () => (await ask(`https://127.0.0.1:${port}`, 'GET', '/oauth2/login', [`Host: ${host}`])).status !== 404,
    {
      what: 'Traefik has routers',
    },
  )

/** Replaces the socket address of a cluster in an Envoy configuration. */
const socketAddress = (from: string, to: string): Readonly<Record<string, string>> => {
  const [[host = '', port = ''] = [], [newHost = '', newPort = ''] = []] = [from, to].map((address) =>
    address.split(':'),
  )
  return { [`address: ${host}, port_value: ${port} `]: `address: ${newHost}, port_value: ${newPort} ` }
}

const startEnvoy: StartProxy = async (t, { port, gateway, verdicts, application, certificate, manyHosts = false }) => {
  const single = documentedYaml('# /etc/envoy/envoy.yaml')
  const [, routes = ''] = /\n {22}routes:\n(.*?\n)(?= {16}http_filters)/s.exec(single) ?? []
  const hosts = documentedYaml('name: apps').replaceAll(/^(?=.)/gm, ' '.repeat(18))
  const all = manyHosts
    ? single.replace(
        / {18}virtual_hosts:\n.*?\n(?= {16}http_filters)/s,
        () => `${hosts}${' '.repeat(22)}routes:\n${routes}`,
      )
    : put(single, { 'domains: [orders.example.com]': 'domains: [127.0.0.1]' })
  await startEnvoyWith(
    t,
    port,
    put(all, {
      // Envoy would wait for a second before it closes a connection on which it has rejected a request.
      'stat_prefix: public': `stat_prefix: public\n${' '.repeat(16)}delayed_close_timeout: 0.05s`,
      ...socketAddress('0.0.0.0:443', `127.0.0.1:${port}`),
      ...socketAddress('gatehouse:8080', gateway),
      ...socketAddress('gatehouse:8081', verdicts),
      ...socketAddress('orders:3000', application),
    }),
    certificate,
  )
}

/** Starts Envoy with a configuration whose certificate is that of docs/forward-auth.md. */
export const startEnvoyWith = async (t: Test, port: number, yaml: string, certificate: Certificate): Promise<void> =>
  startProxyProgram(t, port, {
    name: 'envoy',
    files: {
      'orders.crt': certificate.cert,
      'orders.key': certificate.key,
      'envoy.yaml': put(yaml, { '/etc/envoy/': 'FOLDER/' }),
    },
    args: (folder) => ['-c', `${folder}/envoy.yaml`, '--concurrency', '1', '--disable-hot-restart', '-l', 'error'],
  })

/** The proxies that run with their configuration on the page. */
export const documentedProxies: readonly (readonly [name: string, start: StartProxy])[] = [
  ['nginx', startDocumentedNginx],
  ['Caddy', startCaddy],
  ['HAProxy', startHaproxy],
  ['Traefik', startTraefik],
  ['Envoy', startEnvoy],
]
