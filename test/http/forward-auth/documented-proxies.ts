import type { Test } from 'tap'
import type { Certificate } from '../../support/certificates.ts'
import { documented } from '../../support/documented.ts'
import { startNginx } from '../../support/nginx.ts'
import { startProxyProgram } from '../../support/proxy-program.ts'

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
      }),
      'gatehouse.lua': put(lua, { 'http://127.0.0.1:8081/': `http://${verdicts}/` }),
    },
    args: (folder) => ['-db', '-f', `${folder}/haproxy.cfg`],
  })
}

/** The proxies whose configuration on the page can be run here. */
export const documentedProxies: readonly (readonly [name: string, start: StartProxy])[] = [
  ['nginx', startDocumentedNginx],
  ['Caddy', startCaddy],
  ['HAProxy', startHaproxy],
]
